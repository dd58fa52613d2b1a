import ControlPath
import Policy

/// What a user asked to mount, with paths resolved and the configuration file taken in.
struct MountRequest {
    let options: MountOptions
    /// Folders that must be mounts, or the datastore is not there.
    let expectedMounts: [String]

    /// What the arguments say; their name decides which file adds to them.
    init(
        backing: String, mountpoint: String, options: [String], sloppy: Bool = false
    ) throws(Refusal) {
        for (what, path) in [("backing", backing), ("mountpoint", mountpoint)] where path.isEmpty {
            throw .usage(what, "is empty", hint: "name a folder")
        }
        // Names come from the path as it was written, not from where a link leads.
        let name = try MountOptionsParser.parse(
            backing: AbsolutePath.lexical(backing), mountpoint: AbsolutePath.lexical(mountpoint),
            options: options, sloppy: sloppy
        ).name
        let path = ConfigurationFile.path(name: name)
        let file = try Self.read(path)
        if let other = file?.backing, AbsolutePath.lexical(other) != AbsolutePath.lexical(backing) {
            throw .usage(
                "name '\(name)'", "is that of \(path), which is for \(other)",
                hint: "choose another with the option name=")
        }
        try self.init(
            name: name, backing: backing, mountpoint: mountpoint, file: file, options: options,
            sloppy: sloppy)
    }

    /// What the file of a name says; the arguments win.
    init(
        name: String, backing: String?, mountpoint: String?, options: [String]
    ) throws(Refusal) {
        guard MountOptionsParser.isName(name) else {
            throw .usage("name '\(name)'", "is not a usable name")
        }
        let places = [RunFolder().configuration(name), ConfigurationFile.path(name: name)]
        var file: ConfigurationFile?
        for path in places where file == nil { file = try Self.read(path) }
        guard let backing = backing ?? file?.backing,
            let mountpoint = mountpoint ?? file?.mountpoint
        else {
            throw .usage(
                places[1], file == nil ? "is not there" : "lacks backing or mountpoint",
                hint: "write backing = \"FOLDER\" and mountpoint = \"FOLDER\" in it")
        }
        try self.init(
            name: name, backing: backing, mountpoint: mountpoint, file: file, options: options,
            sloppy: false)
    }

    private init(
        name: String, backing: String, mountpoint: String, file: ConfigurationFile?,
        options: [String], sloppy: Bool
    ) throws(Refusal) {
        var parsed = try MountOptionsParser.parse(
            backing: AbsolutePath.lexical(backing), mountpoint: AbsolutePath.lexical(mountpoint),
            options: (file?.options ?? []) + ["name=\(name)"] + options, sloppy: sloppy)
        guard parsed.name == name else {
            throw .usage(
                "name '\(name)'", "is not that of the option name=\(parsed.name)",
                hint: "leave one of them out")
        }
        parsed.backing = AbsolutePath.resolve(backing)
        parsed.mountpoint = AbsolutePath.resolve(mountpoint)
        self.options = parsed
        expectedMounts =
            ExpectedMounts.above(parsed.backing)
            + (file?.backingMount.map { [AbsolutePath.lexical($0)] } ?? [])
    }

    /// The file at a path; nil when there is none.
    private static func read(_ path: String) throws(Refusal) -> ConfigurationFile? {
        guard let text = TextFile.read(path, limit: 1 << 20) else { return nil }
        return try ConfigurationFile(text: text, path: path)
    }
}
