import Glibc
import Policy
import Syscalls

/// The file in /etc/exports.d that exports a mount when the NFS server starts.
struct ExportFile {
    let path: String

    /// What it holds; nil when it is not there.
    var text: String? { access(path, F_OK) == 0 ? TextFile.read(path) : nil }

    private var folder: String { AbsolutePath.parent(path) }

    /// Puts a text in its place, on the disk; a reader sees the old file or the new one.
    func write(_ text: String) throws(Refusal) {
        // exportfs(8) reads nothing that begins with a dot.
        let passing = "\(folder)/.\(path.split(separator: "/").last ?? "forebay").new"
        do throws(Errno) {
            if mkdir(folder, 0o755) != 0 && errno != EEXIST { throw .last }
            try store(text, passing)
            try call { rename(passing, path) }
            try Self.sync(folder: folder)
        } catch {
            unlink(passing)
            throw Refusal(path, "cannot be written: \(error)", hint: "see whether the disk is full")
        }
    }

    private func store(_ text: String, _ path: String) throws(Errno) {
        let file = try Descriptor(path: path, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            done += try call { pwrite(file.raw, Array(bytes[done...]), bytes.count - done, done) }
        }
        try call { fsync(file.raw) }
    }

    /// Removes it, and the folder when nothing else is in it. True when it was there.
    func remove() throws(Refusal) -> Bool {
        guard unlink(path) == 0 else {
            if errno == ENOENT { return false }
            throw Refusal(path, "cannot be removed: \(Errno.last)", hint: "remove it by hand")
        }
        try? Self.sync(folder: folder)
        rmdir(folder)
        return true
    }

    /// Makes it what it was.
    func restore(_ text: String?) {
        if let text {
            try? write(text)
        } else {
            _ = try? remove()
        }
    }

    private static func sync(folder: String) throws(Errno) {
        let folder = try Descriptor(path: folder, flags: O_RDONLY | O_DIRECTORY)
        try call { fsync(folder.raw) }
    }
}
