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
            try DurableFile.replace(path, by: passing, Array(text.utf8), mode: 0o644)
        } catch {
            throw Refusal(path, "cannot be written: \(error)", hint: "see whether the disk is full")
        }
    }

    /// Removes it, and the folder when nothing else is in it. True when it was there.
    func remove() throws(Refusal) -> Bool {
        do throws(Errno) {
            guard try DurableFile.remove(path) else { return false }
        } catch {
            // Gone, and only not known to be so on the disk, is good enough.
            guard access(path, F_OK) != 0 else {
                throw Refusal(path, "cannot be removed: \(error)", hint: "remove it by hand")
            }
        }
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
}
