import ArgumentParser
import ControlPath
import Glibc
import Policy

struct MountCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "mount", abstract: "Mount the accelerated view of a datastore.")

    @Argument(help: "The folder of the datastore.")
    var backing: String

    @Argument(help: "Where the accelerated datastore appears.")
    var mountpoint: String

    @Option(
        name: .customShort("o"), parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Mount options, separated by commas.", valueName: "options"))
    var options: [String] = []

    @Flag(help: "Stay until the mount is gone; for service managers.")
    var foreground = false

    func execute() throws(Refusal) {
        let request = try MountRequest(backing: backing, mountpoint: mountpoint, options: options)
        try Mounter(options: request.options).mount(foreground: foreground)
    }
}

/// What a user asked to mount, with paths resolved and the configuration file taken in.
struct MountRequest {
    let options: MountOptions

    init(
        backing: String, mountpoint: String, options: [String], sloppy: Bool = false
    ) throws(Refusal) {
        for (what, path) in [("backing", backing), ("mountpoint", mountpoint)] where path.isEmpty {
            throw .usage(what, "is empty", hint: "name a folder")
        }
        // Names come from the path as it was written, not from where a link leads.
        let (source, target) = (AbsolutePath.lexical(backing), AbsolutePath.lexical(mountpoint))
        func parse(_ options: [String]) throws(Refusal) -> MountOptions {
            try MountOptionsParser.parse(
                backing: source, mountpoint: target, options: options, sloppy: sloppy)
        }
        var parsed = try parse(options)
        let path = ConfigurationFile.path(name: parsed.name)
        if let text = TextFile.read(path, limit: 1 << 20) {
            let name = parsed.name
            parsed = try parse(try ConfigurationFile.options(in: text, path: path) + options)
            guard parsed.name == name else {
                throw .usage(path, "names another mount", hint: "take name= out of it")
            }
        }
        parsed.backing = AbsolutePath.resolve(backing)
        parsed.mountpoint = AbsolutePath.resolve(mountpoint)
        self.options = parsed
    }
}

/// The calling convention of mount(8):
/// `mount.forebay SOURCE TARGET [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`.
enum MountHelper {
    static func run(_ arguments: [String]) throws(Refusal) {
        let usage = "mount.forebay BACKING MOUNTPOINT [-o OPTIONS]"
        var paths: [String] = []
        var options: [String] = []
        var flags: Set<Character> = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("-"), argument.count > 1 else {
                paths.append(argument)
                continue
            }
            var letters = argument.dropFirst()
            while let letter = letters.popFirst() {
                guard "sfnvoNt".contains(letter) else {
                    throw .usage("option -\(letter)", "is not known", hint: "use \(usage)")
                }
                guard "oNt".contains(letter) else {
                    flags.insert(letter)
                    continue
                }
                guard let value = letters.isEmpty ? rest.popFirst() : String(letters) else {
                    throw .usage("option -\(letter)", "needs a value", hint: "use \(usage)")
                }
                if letter == "o" { options.append(value) }
                letters = ""
            }
        }
        guard paths.count == 2 else {
            throw .usage(
                "usage", "a backing and a mountpoint are needed", hint: "use \(usage)")
        }
        let request = try MountRequest(
            backing: paths[0], mountpoint: paths[1], options: options,
            sloppy: flags.contains("s"))
        if flags.contains("f") { return }
        try Mounter(options: request.options).mount(foreground: false)
    }
}
