import Glibc
import Policy
import Syscalls

/// Exports mounts through the kernel's NFS server and ends that again. It tells exportfs(8) of this
/// one folder only: `exportfs -r` would take away what others exported by hand, and what stands
/// behind an error in another file.
package struct Exporter: Sendable {
    let files: SystemFiles
    let table: MountTable
    let program: ExternalProgram?

    /// Milliseconds that exportfs(8) may take: it asks the name service for each host.
    private static let patience: UInt64 = 60_000

    /// `program` is exportfs(8); nil when it is not installed.
    package init(
        files: SystemFiles = SystemFiles(), table: MountTable = .current(),
        program: ExternalProgram? = .find("exportfs")
    ) {
        self.files = files
        self.table = table
        self.program = program
    }

    // MARK: - Exporting

    /// Exports a mount to these clients and to no others. Tells what the administrator should
    /// know. On a refusal everything is as it was.
    package func export(
        _ export: DatastoreExport, to clients: [ExportClient]
    ) throws(Refusal) -> [String] {
        let subject = "export of '\(export.mountpoint)'"
        guard let program else {
            throw Refusal(
                subject, "exportfs is not installed", hint: "apt-get install nfs-kernel-server")
        }
        let conflicts = ExportConflicts(export: export, files: files, table: table)
        if let refusal = conflicts.refusal() { throw refusal }
        var names: Set<String> = []
        for client in clients {
            guard let name = client.canonical else {
                throw Refusal(
                    subject, "host '\(client.text)' is not known to the name service",
                    hint: "correct the name, or give an address")
            }
            names.insert(name)
        }
        let before = active(export.mountpoint)
        let file = ExportFile(path: files.exports(of: export.name))
        let old = file.text
        do throws(Refusal) {
            try file.write(export.text(clients: clients))
            for client in clients {
                try activate(export, client.text, export.options, program)
            }
            let missing = names.filter { name in
                !active(export.mountpoint).contains { $0.client == name && export.isMet(by: $0) }
            }
            guard missing.isEmpty else {
                let list = missing.sorted().joined(separator: ", ")
                throw Refusal(
                    subject, "the NFS server's table lacks it for \(list)",
                    hint: "see 'exportfs -v' and the log")
            }
        } catch {
            file.restore(old)
            takeBack(export, to: before, program)
            throw error
        }
        let gone = before.filter { !names.contains($0.client) }
        for entry in gone { try deactivate(entry.client, export.mountpoint, program) }
        return gone.map { "'\(export.mountpoint)' is no longer exported to \($0.client)" }
            + warnings(clients, conflicts)
    }

    private func warnings(_ clients: [ExportClient], _ conflicts: ExportConflicts) -> [String] {
        var texts: [String] = []
        if let client = clients.first(where: \.isEveryone) {
            texts.append(
                "\(client.text) is everyone: each machine that reaches this one is root on the"
                    + " datastore; name the hypervisors' network instead")
        }
        for entry in conflicts.above() {
            texts.append(
                "\(entry.place) exports '\(entry.path)' above it: its clients see an empty folder"
                    + " while nothing is mounted there; mount outside of it")
        }
        if files.serverThreads == 0 {
            texts.append(
                "the NFS server does not run; start it with 'systemctl enable --now nfs-server'")
        }
        return texts
    }

    /// What is exported now of exactly this folder.
    func active(_ path: String) -> [ExportTable.Entry] {
        ExportTable.active(files).filter { $0.path == path }
    }

    private func activate(
        _ export: DatastoreExport, _ client: String, _ options: [String],
        _ program: ExternalProgram
    ) throws(Refusal) {
        let target = ExportClient.argument(client: client, path: export.mountpoint)
        try run(
            program, ["-i", "-o", options.joined(separator: ","), target],
            "export of '\(export.mountpoint)' to \(client)")
    }

    func deactivate(
        _ client: String, _ path: String, _ program: ExternalProgram
    ) throws(Refusal) {
        try run(
            program, ["-u", ExportClient.argument(client: client, path: path)],
            "end of the export of '\(path)' to \(client)")
    }

    func run(
        _ program: ExternalProgram, _ arguments: [String], _ subject: String
    ) throws(Refusal) {
        var reason = ""
        do throws(Errno) {
            let outcome = try program.run(arguments, milliseconds: Self.patience)
            if outcome.status == 0 { return }
            reason = outcome.complaint.isEmpty ? "exportfs failed" : outcome.complaint
        } catch {
            reason = "exportfs: \(error)"
        }
        throw Refusal(subject, reason, hint: "see exportfs(8)")
    }

    /// After a failure: exports what was exported before, as it was.
    private func takeBack(
        _ export: DatastoreExport, to before: [ExportTable.Entry], _ program: ExternalProgram
    ) {
        for entry in active(export.mountpoint) where !before.contains(entry) {
            if let old = before.first(where: { $0.client == entry.client }) {
                try? activate(export, old.client, old.options, program)
            } else {
                try? deactivate(entry.client, export.mountpoint, program)
            }
        }
    }
}
