import CLinux
import Glibc
import Syscalls

/// Whole files and trees, by path. Everything throws an `Errno`.
package enum Files {
    /// All bytes of a file, whatever its size says (proc(5) files have none).
    package static func read(_ path: String) throws(Errno) -> [UInt8] {
        let file = try OpenFile(path, O_RDONLY)
        var bytes: [UInt8] = []
        while true {
            let more = try file.read(at: UInt64(bytes.count), count: 1 << 16)
            if more.isEmpty { return bytes }
            bytes += more
        }
    }

    /// All of a file as text.
    package static func text(_ path: String) throws(Errno) -> String {
        String(decoding: try read(path), as: UTF8.self)
    }

    /// Makes a file hold exactly these bytes; it is created when it is not there.
    package static func write(
        _ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644
    ) throws(Errno) {
        let file = try OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        try file.write(bytes, at: 0)
    }

    /// Makes a file hold exactly this text.
    package static func write(_ path: String, _ text: String) throws(Errno) {
        try write(path, Array(text.utf8))
    }

    /// Writes to a file that exists, without truncating it: for the kernel's settings.
    package static func overwrite(_ path: String, with bytes: [UInt8]) throws(Errno) {
        let file = try Descriptor(path: path, flags: O_WRONLY)
        let raw = file.raw
        try call { Glibc.write(raw, bytes, bytes.count) }
    }

    /// Attributes of what a path leads to; of a symbolic link itself unless `following`.
    package static func attributes(
        _ path: String, following: Bool = true
    ) throws(Errno) -> CLinux_attributes {
        var attributes = CLinux_attributes()
        // AT_SYMLINK_NOFOLLOW and AT_FDCWD, which Swift does not see.
        let flags: Int32 = following ? 0 : 0x100
        try call { CLinux_statx(-100, path, flags, &attributes) }
        return attributes
    }

    /// Whether there is something of that name; a symbolic link that leads nowhere counts.
    package static func exists(_ path: String) -> Bool {
        (try? attributes(path, following: false)) != nil
    }

    /// The names in a folder without the two dots, sorted.
    package static func names(_ path: String) throws(Errno) -> [String] {
        guard let folder = opendir(path) else { throw Errno.last }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = Glibc.readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// An extended attribute's value (getxattr(2)).
    package static func xattr(_ path: String, _ name: String) throws(Errno) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = try call { getxattr(path, name, &bytes, bytes.count) }
        return Array(bytes[..<count])
    }

    /// Sets an extended attribute (setxattr(2)).
    package static func setXattr(
        _ path: String, _ name: String, _ value: String
    ) throws(Errno) {
        let bytes = Array(value.utf8)
        try call { setxattr(path, name, bytes, bytes.count, 0) }
    }

    /// Whether two files hold the same bytes. Compares piece by piece.
    package static func haveEqualContents(_ one: String, _ other: String) throws(Errno) -> Bool {
        let (first, second) = (try OpenFile(one, O_RDONLY), try OpenFile(other, O_RDONLY))
        var offset: UInt64 = 0
        while true {
            let bytes = try first.read(at: offset, count: 1 << 20)
            if try second.read(at: offset, count: 1 << 20) != bytes { return false }
            if bytes.isEmpty { return true }
            offset += UInt64(bytes.count)
        }
    }

    /// Removes a file or a folder with all that is in it, as far as it can; never follows
    /// symbolic links.
    package static func removeTree(_ path: String) {
        if unlink(path) == 0 || errno == ENOENT { return }
        for name in (try? names(path)) ?? [] { removeTree("\(path)/\(name)") }
        rmdir(path)
    }
}
