import ArgumentParser
import ControlPath
import Policy

/// Which mount a command is for: `MOUNTPOINT` or `--name NAME`. Units know the name only.
struct MountChoice: ParsableArguments {
    @Argument(help: "The mount.")
    var mountpoint: String?

    @Option(help: "The mount's name, instead of its mountpoint.")
    var name: String?

    /// The mountpoint, also of a mount whose processes have died. Throws wrong usage unless one of
    /// the two is given, and a refusal when no mount has the name.
    func path() throws(Refusal) -> String {
        switch (mountpoint, name) {
        case (let mountpoint?, nil): return mountpoint
        case (nil, let name?):
            guard let mount = RunFolder().described(name) else {
                throw Refusal(
                    "name '\(name)'", "is not that of a mount", hint: "see 'forebay status'")
            }
            return mount.mountpoint
        case (nil, nil):
            throw .usage("usage", "no mount is named", hint: "give MOUNTPOINT or --name NAME")
        case (_?, _?):
            throw .usage(
                "usage", "a mount is named twice", hint: "give MOUNTPOINT or --name NAME")
        }
    }

    /// The mount, which must serve.
    func find() throws(Refusal) -> MountedDatastore { try MountedDatastore.find(try path()) }
}
