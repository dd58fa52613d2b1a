import Policy

/// Other exports that make that of a mount dangerous.
struct ExportConflicts {
    let export: DatastoreExport
    let files: SystemFiles
    let table: MountTable

    /// Entries of other files, and what is exported now.
    private var others: [ExportTable.Entry] {
        let own = "\(files.shown(files.exports(of: export.name))) "
        return ExportTable.configured(files).filter { !$0.place.hasPrefix(own) }
            + ExportTable.active(files)
    }

    /// Why the mount must not be exported; nil when nothing speaks against it.
    func refusal() -> Refusal? {
        let subject = "export of '\(export.mountpoint)'"
        let active = files.shown(files.activeExports)
        for entry in others {
            let isActive = entry.place.hasPrefix("\(active) ")
            if entry.path == export.mountpoint, !isActive {
                return Refusal(
                    subject, "\(entry.place) exports it with options of its own",
                    hint: "remove that line")
            }
            if entry.path != export.mountpoint, entry.identity == export.identity {
                return Refusal(
                    subject, "\(entry.place) has its fsid= for '\(entry.path)'",
                    hint: "remove that export, or mount with another name=")
            }
            if entry.isWritable, reaches(entry, export.backing) {
                return Refusal(
                    subject,
                    "\(entry.place) exports '\(entry.path)' and with it the backing, for writing:"
                        + " two ways to one disk",
                    hint: "remove that export or make it ro")
            }
        }
        return nil
    }

    /// Exports of folders above the mount: their clients see the empty folder while it is not
    /// mounted.
    func above() -> [ExportTable.Entry] {
        var paths: Set<String> = []
        return others.filter {
            MountTable.isInside(export.mountpoint, $0.path, orSame: false)
                && reaches($0, AbsolutePath.parent(export.mountpoint))
                && paths.insert($0.path).inserted
        }
    }

    /// True when clients of the entry come to something of the folder: it is the folder, lies in
    /// it, or lies above it without another file system between that stops them.
    private func reaches(_ entry: ExportTable.Entry, _ folder: String) -> Bool {
        if MountTable.isInside(entry.path, folder, orSame: true) { return true }
        guard MountTable.isInside(folder, entry.path, orSame: false) else { return false }
        return entry.crossesMounts
            || table.entry(containing: folder) == table.entry(containing: entry.path)
    }
}
