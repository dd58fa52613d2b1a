import CFuse
import CLinux
import Glibc
import Syscalls

/// What every operation needs: the folder, the faults, and how to make replies.
final class FileSystem: Sendable {
    let nodes: Nodes
    let faults: Faults
    /// Seconds that the kernel may believe attributes and names.
    let timeout: Double

    init(folder: String, faults: Faults, timeout: Double) throws(Errno) {
        nodes = try Nodes(folder: folder)
        self.faults = faults
        self.timeout = timeout
    }

    /// The reply that tells of a node, for an open file.
    func entry(of descriptor: Int32) throws(Errno) -> fuse_entry_param {
        var entry = fuse_entry_param()
        entry.ino = try nodes.node(of: descriptor)
        entry.attr = try Self.attributes(of: descriptor)
        entry.attr_timeout = timeout
        entry.entry_timeout = timeout
        return entry
    }

    /// The reply for a name in an open folder.
    func entry(
        in folder: Int32, _ name: UnsafePointer<CChar>
    ) throws(Errno) -> fuse_entry_param {
        let file = try Descriptor(
            directory: folder, name: name, flags: CLinux_O_PATH | O_NOFOLLOW)
        return try entry(of: file.raw)
    }

    /// Gives what was just created to the caller, and the mode that giving it away took off.
    func give(
        _ file: Int32, in folder: Int32, mode: mode_t, to request: fuse_req_t
    ) throws(Errno) {
        guard let context = fuse_req_ctx(request) else { throw .invalid }
        let parent = try Self.attributes(of: folder)
        // A set-gid folder hands its group on, which the kernel did when it created the file.
        let keepsGroup = parent.st_mode & S_ISGID != 0
        let group = keepsGroup ? gid_t.max : context.pointee.gid
        try call { fchownat(file, "", context.pointee.uid, group, CLinux_AT_EMPTY_PATH) }
        let bits = mode & (S_ISUID | S_ISGID)
        if bits != 0, mode & S_IFMT != S_IFDIR, mode & S_IFMT != S_IFLNK {
            try call { chmod(Self.path(of: file), mode & 0o7777) }
        }
    }

    /// Attributes of an open file, symbolic links included (fstat(2)).
    static func attributes(of descriptor: Int32) throws(Errno) -> stat {
        var attributes = stat()
        try call { fstat(descriptor, &attributes) }
        return attributes
    }

    /// A path that leads to an open file, for calls that take no descriptor made with O_PATH.
    static func path(of descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }
}

/// Runs an operation under its faults; `body` sends the reply, except when it throws.
func perform(
    _ request: fuse_req_t?, _ operation: Operation,
    _ body: (FileSystem, fuse_req_t) throws(Errno) -> Void
) {
    guard let request, let userdata = fuse_req_userdata(request) else { return }
    let fileSystem = Unmanaged<FileSystem>.fromOpaque(userdata).takeUnretainedValue()
    do throws(Errno) {
        try fileSystem.faults.enter(operation, request)
        try body(fileSystem, request)
    } catch {
        fuse_reply_err(request, error.code)
    }
    fileSystem.faults.leave()
}

/// Opened files are numbered by their descriptor, which FUSE hands back with each request.
func descriptor(_ file: UnsafeMutablePointer<fuse_file_info>?) throws(Errno) -> Int32 {
    guard let file else { throw Errno(EBADF) }
    return Int32(truncatingIfNeeded: file.pointee.fh)
}

/// A name of a request; libfuse never leaves it out.
func required(_ name: UnsafePointer<CChar>?) throws(Errno) -> UnsafePointer<CChar> {
    guard let name else { throw .invalid }
    return name
}
