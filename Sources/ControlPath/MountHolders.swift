import Glibc

/// Who keeps a mount busy. Reads /proc and /sys only, so that it never waits for the mount.
package enum MountHolders {
    /// One text for each holder found, at most `limit`: processes with open files, current
    /// folders or mapped files there, NFS exports and clients, loop devices, mounts below it.
    package static func find(_ mountpoint: String, limit: Int = 8) -> [String] {
        var found = server(mountpoint) + loops(mountpoint) + below(mountpoint)
        for process in TextFile.names(in: "/proc") where process.allSatisfy(\.isNumber) {
            if found.count >= limit { break }
            guard Int32(process) != getpid(), let what = use(process, mountpoint) else { continue }
            let name = TextFile.word("/proc/\(process)/comm") ?? "?"
            found.append("process \(process) (\(name)) \(what)")
        }
        return Array(found.prefix(limit))
    }

    private static func isThere(_ path: String?, _ mountpoint: String) -> Bool {
        guard let path else { return false }
        return MountTable.isInside(path, mountpoint, orSame: true)
    }

    private static func use(_ process: String, _ mountpoint: String) -> String? {
        let folder = "/proc/\(process)"
        if isThere(TextFile.link("\(folder)/cwd"), mountpoint) { return "has its folder there" }
        if isThere(TextFile.link("\(folder)/root"), mountpoint) { return "has its root there" }
        for file in TextFile.names(in: "\(folder)/fd", limit: 65536) {
            let target = TextFile.link("\(folder)/fd/\(file)")
            if isThere(target, mountpoint) { return "has \(target ?? "a file") open" }
        }
        for line in (TextFile.read("\(folder)/maps") ?? "").split(separator: "\n") {
            guard let start = line.firstIndex(of: "/") else { continue }
            if isThere(String(line[start...]), mountpoint) { return "has a file mapped" }
        }
        return nil
    }

    /// To whom the NFS server exports the mount, and what ends that; nil when it does not.
    package static func exports(
        _ mountpoint: String, files: SystemFiles = SystemFiles()
    ) -> String? {
        let clients = ExportTable.active(files).filter { isThere($0.path, mountpoint) }
            .map(\.client)
        guard let first = clients.first else { return nil }
        let more = clients.count > 1 ? " and \(clients.count - 1) more" : ""
        return "the NFS server exports it to \(first)\(more) ('forebay unexport \(mountpoint)'"
            + " ends that)"
    }

    /// What the NFS server has of the mount: an export, entries of its caches, opens of clients.
    static func server(
        _ mountpoint: String, table: MountTable = .current(), files: SystemFiles = SystemFiles()
    ) -> [String] {
        var found: [String] = []
        let cached = ExportTable.parse(
            TextFile.read("\(files.nfsServer)/exports") ?? "", file: "exports")
        if let text = exports(mountpoint, files: files) {
            found.append(text)
        } else if cached.contains(where: { isThere($0.path, mountpoint) }) {
            found.append("the NFS server has it in its caches ('exportfs -f' ends that)")
        }
        guard let device = table.entry(at: mountpoint)?.device else { return found }
        return found
            + ServerClient.holding(device, files).map {
                "NFS client \($0.address) has \($0.here) files open there"
            }
    }

    private static func loops(_ mountpoint: String) -> [String] {
        TextFile.names(in: "/sys/block").compactMap { device in
            guard device.hasPrefix("loop"),
                let file = TextFile.read("/sys/block/\(device)/loop/backing_file", limit: 4096),
                isThere(file, mountpoint)
            else { return nil }
            return "/dev/\(device) is a file there"
        }
    }

    private static func below(_ mountpoint: String) -> [String] {
        MountTable.current().entries(below: mountpoint).map { "\($0.mountpoint) is mounted there" }
    }
}
