import Glibc
import Policy
import Syscalls

/// The end of an export, until the mount can be unmounted.
extension Exporter {
    /// Milliseconds in which knfsd must have let go of a mount.
    private static let releasePatience: UInt64 = 10_000

    /// Ends the export of a folder to all its clients and returns when nothing of knfsd holds it
    /// any more; does nothing when it is not exported. The mount may be gone already. Tells what
    /// the administrator should know.
    package func unexport(_ mountpoint: String) throws(Refusal) -> [String] {
        var changed = false
        for name in TextFile.names(in: files.exportsFolder)
        where name.hasPrefix("forebay-") && name.hasSuffix(".exports") {
            let path = "\(files.exportsFolder)/\(name)"
            let entries = ExportTable.parse(TextFile.read(path) ?? "", file: path)
            guard entries.contains(where: { $0.path == mountpoint }) else { continue }
            if try ExportFile(path: path).remove() { changed = true }
        }
        for entry in active(mountpoint) {
            guard let program else { break }
            try deactivate(entry.client, mountpoint, program)
            changed = true
        }
        guard changed else { return [] }
        try release(mountpoint)
        let again = ExportTable.configured(files).filter { $0.path == mountpoint }
        return again.prefix(1).map {
            "\($0.place) exports '\(mountpoint)' again when the NFS server starts; remove that line"
        }
    }

    /// Empties knfsd's caches and takes the locks and opens of clients on this file system away.
    private func release(_ mountpoint: String) throws(Refusal) {
        if let program { try run(program, ["-f"], "flush of the NFS server's caches") }
        guard let mount = table.entry(at: mountpoint), mount.type == "fuse.forebay",
            files.serverThreads > 0
        else { return }
        let unlocker = "\(files.nfsServer)/unlock_filesystem"
        _ = withTimeLimit(milliseconds: 5000) {
            ServerClient.write("\(mountpoint)\n", to: unlocker)
        }
        let deadline = monotonicNanoseconds() + .milliseconds(Self.releasePatience)
        while true {
            let clients = ServerClient.holding(mount.device, files)
            guard let first = clients.first(where: { $0.elsewhere > 0 }) ?? clients.first else {
                return
            }
            // What a client holds here is of no use to it without the export. Kernels before 6.9
            // can only take everything from it, so those that hold more elsewhere are spared.
            for client in clients where client.elsewhere == 0 { client.expire() }
            guard first.elsewhere == 0, monotonicNanoseconds() < deadline else {
                throw Refusal(
                    "unexport of '\(mountpoint)'",
                    "done, but client \(first.address) still has \(first.here) files open there",
                    hint: "unmount it at the client, or 'echo expire > \(first.path)/ctl', which"
                        + " ends what it has open elsewhere too")
            }
            sleep(milliseconds: 100)
        }
    }
}
