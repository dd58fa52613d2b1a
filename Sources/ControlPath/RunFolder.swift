import Glibc
import Syscalls

/// What a mount leaves in /run/forebay while it lives: `NAME.lock`, on which the keeper and the
/// server hold a lock (flock(2)) that only the end of both releases, `NAME.sock` and, where there
/// are alert channels, `NAME.alerts`.
package struct RunFolder: Sendable {
    /// A mount as its lock file describes it.
    package struct Mount: Equatable, Sendable {
        package let name: String
        package let mountpoint: String
        package let backing: String
        /// All options, as `MountOptions.optionText` writes them; empty when they are not known.
        package let options: String

        package init(name: String, mountpoint: String, backing: String, options: String = "") {
            self.name = name
            self.mountpoint = mountpoint
            self.backing = backing
            self.options = options
        }

        /// Reads the text of a lock file; nil when it is none.
        init?(name: String = "", text: String) {
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            guard lines.count >= 2 else { return nil }
            self.init(
                name: name, mountpoint: String(lines[0]), backing: String(lines[1]),
                options: lines.count > 2 ? String(lines[2]) : "")
        }

        var text: String { "\(mountpoint)\n\(backing)\n\(options)\n" }
    }

    package let path: String

    package init(path: String = "/run/forebay") { self.path = path }

    /// The control socket of a mount.
    package func socket(_ name: String) -> String { "\(path)/\(name).sock" }
    /// The lock file of a mount.
    package func lock(_ name: String) -> String { "\(path)/\(name).lock" }
    /// The configuration of a mount that the service is asked for and that has no file in /etc.
    package func configuration(_ name: String) -> String { "\(path)/\(name).toml" }
    /// What deliveries of alerts remember of earlier ones.
    package func alerts(_ name: String) -> String { "\(path)/\(name).alerts" }
    /// A template of mkdtemp(3) for a folder with secrets that a delivery of an alert uses.
    package func scratch(_ name: String) -> String { "\(path)/\(name).scratch-XXXXXX" }

    /// Takes a name: the descriptor is locked for as long as it or a copy in a child is open.
    /// Makes the folder when it is missing. Throws EWOULDBLOCK when the name is in use.
    package func take(_ mount: Mount) throws(Errno) -> Descriptor {
        if mkdir(path, 0o700) != 0 && errno != EEXIST { throw .last }
        for _ in 0..<100 {
            let file = try Descriptor(path: lock(mount.name), flags: O_RDWR | O_CREAT, mode: 0o600)
            try call { flock(file.raw, LOCK_EX | LOCK_NB) }
            // An unmount may have removed the file between the two calls.
            guard isCurrent(file.raw, mount.name) else { continue }
            let text = Array(mount.text.utf8)
            try call { ftruncate(file.raw, 0) }
            try call { pwrite(file.raw, text, text.count, 0) }
            return file
        }
        throw Errno(EAGAIN)
    }

    /// True when a keeper or a server of this name lives, or one has just been started.
    package func isTaken(_ name: String) -> Bool {
        guard let file = try? Descriptor(path: lock(name), flags: O_RDONLY) else { return false }
        return flock(file.raw, LOCK_SH | LOCK_NB) != 0
    }

    /// Removes the files of a mount whose processes are gone; false when one still lives.
    package func remove(_ name: String) -> Bool {
        if let file = try? Descriptor(path: lock(name), flags: O_RDWR) {
            guard flock(file.raw, LOCK_EX | LOCK_NB) == 0 else { return false }
            removeUnlocked(name)
            if isCurrent(file.raw, name) { unlink(lock(name)) }
        } else {
            removeUnlocked(name)
        }
        return true
    }

    private func removeUnlocked(_ name: String) {
        unlink(socket(name))
        unlink(configuration(name))
        // Left by a delivery that was killed.
        for folder in TextFile.names(in: path) where folder.hasPrefix("\(name).scratch-") {
            Self.removeScratch("\(path)/\(folder)")
        }
    }

    /// Removes a folder made after `scratch`, with what net-snmp has made in it.
    package static func removeScratch(_ folder: String) {
        for name in TextFile.names(in: folder) {
            let entry = "\(folder)/\(name)"
            if unlink(entry) == 0 { continue }
            for inner in TextFile.names(in: entry) { unlink("\(entry)/\(inner)") }
            rmdir(entry)
        }
        rmdir(folder)
    }

    /// Removes what was remembered of alerts. Not after a mount that failed: the next attempt must
    /// not tell of it as if it were the first.
    package func forgetAlerts(_ name: String) { unlink(alerts(name)) }

    /// Removes the files that dead processes left of a mount at this place.
    package func removeStale(mountpoint: String) {
        for file in TextFile.names(in: path) where file.hasSuffix(".lock") {
            let name = String(file.dropLast(5))
            guard described(name)?.mountpoint == mountpoint else { continue }
            if remove(name) { forgetAlerts(name) }
        }
    }

    /// What the lock file of a name says, whether or not its processes live.
    package func described(_ name: String) -> Mount? {
        guard let text = TextFile.read(lock(name), limit: 16384) else { return nil }
        return Mount(name: name, text: text)
    }

    /// The mounts whose processes live, by name.
    package func mounts() -> [Mount] {
        let found = TextFile.names(in: path).sorted().compactMap { file -> Mount? in
            guard file.hasSuffix(".lock") else { return nil }
            let name = String(file.dropLast(5))
            return isTaken(name) ? described(name) : nil
        }
        return found + unlocked(besides: found)
    }

    /// Servers that were started without a lock file: known by what they answer.
    private func unlocked(besides known: [Mount]) -> [Mount] {
        TextFile.names(in: path).sorted().compactMap { file in
            guard file.hasSuffix(".sock") else { return nil }
            let name = String(file.dropLast(5))
            guard !known.contains(where: { $0.name == name }),
                let answer = try? ControlClient.request(
                    "status", path: socket(name), milliseconds: 1000),
                let status = JSONValue(parsing: answer),
                let mountpoint = status["mountpoint"]?.plain
            else { return nil }
            return Mount(
                name: name, mountpoint: mountpoint, backing: status["backing"]?.plain ?? "")
        }
    }

    /// True when the path still leads to the open file.
    private func isCurrent(_ file: Int32, _ name: String) -> Bool {
        var opened = stat()
        var named = stat()
        return fstat(file, &opened) == 0 && stat(lock(name), &named) == 0
            && opened.st_ino == named.st_ino && opened.st_dev == named.st_dev
    }
}
