import CLinux
import Glibc
import Policy
import Syscalls

/// The files that are to be read: those named, and the regular files below the folders named.
/// Symbolic links below a folder are not followed, and a file with several names counts once.
struct ImageTree {
    private struct Identity: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    private var known: Set<Identity> = []
    /// Files and folders that could not be read.
    private(set) var unreadable: UInt64 = 0
    /// The first of them, and the reason.
    private(set) var firstUnreadable = ""
    /// Whether to leave the rest when the mount that it is in is gone or does not answer.
    var endsWithMount = false
    /// The error of which it left the rest.
    private(set) var end: Errno?

    /// Calls `visit` for each file with its descriptor and its size in bytes. Refuses a path that
    /// was named and cannot be opened, or is neither file nor folder nor block device.
    mutating func visit(
        _ paths: [String], _ visit: (Int32, UInt64) throws(Errno) -> Void
    ) throws(Refusal) {
        for path in paths {
            let file: Descriptor
            do throws(Errno) {
                file = try Descriptor(path: path, flags: O_RDONLY | O_NONBLOCK)
            } catch {
                throw Refusal("'\(path)'", "it cannot be opened: \(error)")
            }
            if !look(at: file.raw, path, depth: 0, visit) {
                throw Refusal(
                    "'\(path)'", "it is no file, folder or block device",
                    hint: "name disk images, or folders of them")
            }
        }
    }

    /// Answers false for what has no contents of its own: sockets, pipes and the like.
    private mutating func look(
        at file: Int32, _ path: String, depth: Int, _ visit: (Int32, UInt64) throws(Errno) -> Void
    ) -> Bool {
        do throws(Errno) {
            var facts = CLinux_attributes()
            try call { CLinux_statx(file, "", CLinux_AT_EMPTY_PATH, &facts) }
            switch facts.mode & UInt32(S_IFMT) {
            case UInt32(S_IFDIR):
                try descend(into: file, path, depth: depth, visit)
            case UInt32(S_IFREG):
                if isNew(facts) { try visit(file, facts.size) }
            case UInt32(S_IFBLK):
                try visit(file, UInt64(try call { CLinux_seek(file, 0, SEEK_END) }))
            default: return false
            }
        } catch {
            note(path, error)
        }
        return true
    }

    private mutating func descend(
        into folder: Int32, _ path: String, depth: Int,
        _ visit: (Int32, UInt64) throws(Errno) -> Void
    ) throws(Errno) {
        guard depth < Limits.estimateDepth else { throw .tooManyLinks }
        // fdopendir(3) takes the descriptor over.
        let copy = try call { CLinux_dup(folder) }
        guard let stream = fdopendir(copy) else {
            close(copy)
            throw .last
        }
        defer { closedir(stream) }
        rewinddir(stream)
        while end == nil, let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            let kind = Int(entry.pointee.d_type)
            let isFile = kind == Int(DT_REG) || kind == Int(DT_DIR) || kind == Int(DT_UNKNOWN)
            guard isFile, name != ".", name != ".." else { continue }
            do throws(Errno) {
                let flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW
                let file = try Descriptor(directory: folder, name: name, flags: flags)
                _ = look(at: file.raw, "\(path)/\(name)", depth: depth + 1, visit)
            } catch {
                if error != .tooManyLinks { note("\(path)/\(name)", error) }
            }
        }
    }

    /// False for a file that was met under another name.
    private mutating func isNew(_ facts: CLinux_attributes) -> Bool {
        guard facts.links > 1, known.count < Limits.estimateLinks else { return true }
        return known.insert(Identity(device: facts.device, inode: facts.inode)).inserted
    }

    private mutating func note(_ path: String, _ error: Errno) {
        unreadable += 1
        if endsWithMount, MountRoot.isEnd(error) { end = error }
        if firstUnreadable.isEmpty { firstUnreadable = "'\(path)': \(error)" }
    }
}
