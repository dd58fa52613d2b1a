import Glibc

/// Small files that are on the disk, whole, when a call returns; a reader sees the old or the new.
package enum DurableFile {
    /// Puts bytes in the place of a file. They are written to `passing`, in the same folder, first,
    /// which is gone afterwards. Throws what the disk says; the file is then as it was, unless only
    /// its folder could not be written.
    package static func replace(
        _ path: String, by passing: String, _ bytes: [UInt8], mode: UInt32
    ) throws(Errno) {
        do throws(Errno) {
            try write(bytes, to: passing, mode: mode)
            try call { rename(passing, path) }
        } catch {
            unlink(passing)
            throw error
        }
        try syncFolder(of: path)
    }

    /// Removes a file. True when it was there.
    package static func remove(_ path: String) throws(Errno) -> Bool {
        guard unlink(path) == 0 else {
            if errno == ENOENT { return false }
            throw .last
        }
        try syncFolder(of: path)
        return true
    }

    private static func write(_ bytes: [UInt8], to path: String, mode: UInt32) throws(Errno) {
        let file = try Descriptor(path: path, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        var done = 0
        while done < bytes.count {
            done += try call { pwrite(file.raw, Array(bytes[done...]), bytes.count - done, done) }
        }
        try call { fsync(file.raw) }
    }

    private static func syncFolder(of path: String) throws(Errno) {
        let end = path.lastIndex(of: "/") ?? path.startIndex
        let folder = try Descriptor(
            path: end == path.startIndex ? "/" : String(path[..<end]),
            flags: O_RDONLY | O_DIRECTORY)
        try call { fsync(folder.raw) }
    }
}
