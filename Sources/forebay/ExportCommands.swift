import ArgumentParser
import ControlPath
import Glibc
import Policy

struct ExportCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Export a mount through the kernel's NFS server.")

    @OptionGroup var choice: MountChoice

    @Option(
        help: ArgumentHelp(
            "Who may mount it: hosts, addresses, networks, @netgroups, separated by commas."
                + " Those of an earlier export that are left out lose it.",
            valueName: "clients"))
    var to: [String] = []

    @Flag(help: "Change nothing; clients that asked before the mount was there go on at once.")
    var again = false

    func execute() throws(Refusal) {
        guard again != !to.isEmpty else {
            throw .usage("usage", "it is not said to whom", hint: "give --to CLIENTS, or --again")
        }
        let clients = again ? [] : try ExportClient.list(to)
        let mount = try choice.find()
        if again {
            Exporter().renew(mount.mountpoint)
            return
        }
        let table = MountTable.current()
        guard let entry = table.entry(at: mount.mountpoint), entry.type == "fuse.forebay" else {
            throw Refusal(
                "'\(mount.mountpoint)'", "is not a mount of Forebay", hint: "see 'forebay status'")
        }
        let export = DatastoreExport(
            name: mount.name, mountpoint: mount.mountpoint, backing: entry.source,
            isReadOnly: entry.options.contains("ro"))
        warn(try Exporter(table: table).export(export, to: clients))
    }
}

struct UnexportCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "unexport", abstract: "End the export of a mount, so that it can be unmounted."
    )

    @Argument(help: "The mount.")
    var mountpoint: String

    func execute() throws(Refusal) {
        guard geteuid() == 0 else {
            throw Refusal("permission", "only root may do this", hint: "use sudo")
        }
        let exporter = Exporter()
        let textual = AbsolutePath.lexical(mountpoint)
        let resolved = AbsolutePath.resolve(mountpoint)
        warn(try exporter.unexport(textual))
        if resolved != textual { warn(try exporter.unexport(resolved)) }
    }
}

/// Tells what an administrator should know of something that was done.
private func warn(_ texts: [String]) {
    for text in texts { standardError("forebay: warning: \(text)") }
}
