import ArgumentParser
import ControlPath
import Glibc
import Policy

struct MountCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "mount", abstract: "Mount the accelerated view of a datastore.")

    @Argument(help: "The folder of the datastore.")
    var backing: String?

    @Argument(help: "Where the accelerated datastore appears.")
    var mountpoint: String?

    @Option(help: "Mount what /etc/forebay/NAME.toml says.")
    var name: String?

    @Option(
        name: .customShort("o"), parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Mount options, separated by commas.", valueName: "options"))
    var options: [String] = []

    @Flag(help: "Stay until the mount is gone; for service managers.")
    var foreground = false

    func execute() throws(Refusal) {
        if foreground, ServiceManager.isMainProcess {
            try ServiceStart().run { () throws(Refusal) in try request() }
        } else {
            try Mounter(try request()).mount(foreground: foreground)
        }
    }

    private func request() throws(Refusal) -> MountRequest {
        if let name {
            return try MountRequest(
                name: name, backing: backing, mountpoint: mountpoint, options: options)
        }
        guard let backing, let mountpoint else {
            throw .usage(
                "usage", "it is not said what to mount",
                hint: "give BACKING and MOUNTPOINT, or --name NAME")
        }
        return try MountRequest(backing: backing, mountpoint: mountpoint, options: options)
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
        try Mounter(request, isUnattended: isAtBoot).mount(foreground: false)
    }

    /// systemd has started the mount(8) that has started this.
    private static var isAtBoot: Bool {
        guard let text = TextFile.read("/proc/\(getppid())/stat"),
            let name = text.lastIndex(of: ")")
        else { return false }
        // proc(5): the state and the parent's number follow the name, which may hold anything.
        return text[name...].split(separator: " ").dropFirst(2).first == "1"
    }
}
