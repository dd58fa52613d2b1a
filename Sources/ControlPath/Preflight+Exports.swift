import Policy

/// What the NFS server exports, or would after its next start.
extension Preflight {
    private var subject: String { "export of '\(options.mountpoint)'" }

    /// The entries of the mount's own folder, in the files and now.
    private var entries: [ExportTable.Entry] {
        (ExportTable.configured(files) + ExportTable.active(files))
            .filter { $0.path == options.mountpoint }
    }

    /// The options that an export of the mount has or lacks, a check for each; one check when it
    /// is not exported yet.
    func exports() -> [PreflightCheck] {
        let entries = entries
        guard !entries.isEmpty else {
            return [.pass("export", subject, "there is none yet; 'forebay export' makes it")]
        }
        return [
            exportOption("export-sync", entries, "sync", "writes are acknowledged too early") {
                !$0.has("async")
            },
            exportOption(
                "export-root", entries, "no_root_squash", "hypervisors work as root, and are nobody"
            ) {
                $0.has("no_root_squash") && !$0.has("all_squash")
            },
            exportOption(
                "export-subtree", entries, "no_subtree_check",
                "handles turn stale when a file is moved"
            ) {
                !$0.has("subtree_check")
            },
            exportOption(
                "export-mountpoint", entries, "mountpoint",
                "clients see the empty folder while nothing is mounted"
            ) {
                $0.needsMount
            },
            exportIdentity(entries), exportClients(entries),
        ]
    }

    private func exportOption(
        _ name: String, _ entries: [ExportTable.Entry], _ option: String, _ reason: String,
        _ isMet: (ExportTable.Entry) -> Bool
    ) -> PreflightCheck {
        guard let bad = entries.first(where: { !isMet($0) }) else {
            return .pass(name, subject, "has \(option)")
        }
        return .warn(
            name, subject, "\(bad.place) lacks \(option) for \(bad.client): \(reason)",
            mend: mend(bad, "write \(option) there"))
    }

    /// What puts an entry right: a line of the administrator's is the administrator's.
    private func mend(_ entry: ExportTable.Entry, _ change: String) -> String {
        let repeating = "forebay export \(options.mountpoint) --to \(entry.client)"
        let own = [files.exports(of: options.name), files.activeExports].map { files.shown($0) }
        let isOurs = own.contains { entry.place.hasPrefix("\($0) ") }
        return isOurs ? repeating : "\(change), then 'exportfs -r'"
    }

    private func exportIdentity(_ entries: [ExportTable.Entry]) -> PreflightCheck {
        let name = "export-fsid"
        if let bad = entries.first(where: { $0.identity == nil }) {
            return .warn(
                name, subject,
                "\(bad.place) lacks fsid=, without which a FUSE mount cannot be exported",
                mend: mend(bad, "write fsid=\(ExportIdentity.uuid(name: options.name)) there"))
        }
        if Set(entries.compactMap(\.identity)).count > 1 {
            return .warn(
                name, subject,
                "has more than one fsid=: handles of clients turn stale when it changes",
                mend: "keep the one that clients know, see 'exportfs -v'")
        }
        return .pass(name, subject, "has fsid=\(entries.first?.identity ?? "")")
    }

    private func exportClients(_ entries: [ExportTable.Entry]) -> PreflightCheck {
        let name = "export-clients"
        let everyone = entries.first { (try? ExportClient($0.client))?.isEveryone == true }
        guard let everyone else { return .pass(name, subject, "names its clients") }
        return .warn(
            name, subject,
            "\(everyone.place) is for everyone: each machine that reaches this one is root there",
            mend: "forebay export \(options.mountpoint) --to NETWORK-OF-THE-HYPERVISORS")
    }

    /// Other exports that get in the way of this one.
    func neighbours() -> PreflightCheck {
        let name = "export-neighbours"
        let export = DatastoreExport(
            name: options.name, mountpoint: options.mountpoint, backing: options.backing,
            isReadOnly: options.readOnly)
        let conflicts = ExportConflicts(export: export, files: files, table: table)
        if let refusal = conflicts.refusal() {
            return .warn(name, subject, refusal.why, mend: refusal.hint)
        }
        if let above = conflicts.above().first {
            return .warn(
                name, subject,
                "\(above.place) exports '\(above.path)' above it, where its clients see an empty"
                    + " folder while nothing is mounted",
                mend: "mount outside of '\(above.path)', or end that export")
        }
        return .pass(name, subject, "no other export gets in its way")
    }
}
