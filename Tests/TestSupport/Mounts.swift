import CLinux
import Glibc
import Syscalls

/// A line of /proc/self/mountinfo (proc(5)).
package struct MountedFileSystem: Sendable {
    /// Where it appears, absolute.
    package let mountpoint: String
    /// Its type, for example `fuse.forebay`.
    package let type: String
    /// What it was mounted from.
    package let source: String
    /// The minor number of its device: a FUSE file system's connection number.
    package let minor: UInt64
}

/// What is mounted, and ways to be rid of it that do not hang.
package enum Mounts {
    /// Everything that is mounted now, the oldest first.
    package static func all() -> [MountedFileSystem] {
        guard let bytes = try? Files.read("/proc/self/mountinfo") else { return [] }
        return bytes.split(separator: 10).compactMap { line in
            let words = line.split(separator: 32).map { unescaped($0) }
            guard let dash = words.firstIndex(of: "-"), dash >= 6, words.count > dash + 2,
                let minor = words[2].split(separator: ":").last.flatMap({ UInt64($0) })
            else { return nil }
            return MountedFileSystem(
                mountpoint: words[4], type: words[dash + 1], source: words[dash + 2], minor: minor)
        }
    }

    /// The file system that is mounted exactly there, the topmost one.
    package static func at(_ path: String) -> MountedFileSystem? {
        all().last { $0.mountpoint == path }
    }

    /// Unmounts everything at or below a path, whatever state it is in: FUSE connections are
    /// aborted, so that nobody waits for a server any more, and mounts are taken away lazily.
    package static func removeAll(below path: String) {
        // Mounts may be stacked, so it takes rounds; the number of rounds only bounds it.
        for _ in 0..<16 {
            let found = all().filter {
                $0.mountpoint == path || $0.mountpoint.hasPrefix(path + "/")
            }
            if found.isEmpty { return }
            for mount in found.reversed() {
                if mount.type.hasPrefix("fuse") { abort(connection: mount.minor) }
                umount2(mount.mountpoint, Int32(MNT_DETACH))
            }
        }
    }

    /// Ends a FUSE connection: everything that waits for its server fails with ENOTCONN.
    package static func abort(connection: UInt64) {
        // In a place of its own: not every machine has the control files mounted.
        guard let space = try? TemporaryFolder("connections"),
            let folder = try? space.makeFolder("connections"),
            CLinux_mount("none", folder, "fusectl", 0, "") == 0
        else { return }
        try? Files.overwrite("\(folder)/\(connection)/abort", with: Array("1".utf8))
        umount2(folder, Int32(MNT_DETACH))
        withExtendedLifetime(space) {}
    }

    /// The kernel writes space, tab, line feed and backslash as three octal digits.
    private static func unescaped(_ word: some Sequence<UInt8>) -> String {
        var bytes: [UInt8] = []
        var digits: [UInt8] = []
        var isEscaped = false
        for byte in word {
            if isEscaped {
                digits.append(byte &- 48)
                guard digits.count == 3 else { continue }
                bytes.append(digits.reduce(0) { $0 &* 8 &+ $1 })
                digits = []
                isEscaped = false
            } else if byte == 92 {
                isEscaped = true
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
