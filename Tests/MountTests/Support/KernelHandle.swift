import CLinux
import CPosix
import Glibc
import Syscalls

/// A file handle of the kernel (name_to_handle_at(2)), as an NFS client keeps it.
struct KernelHandle: Hashable {
    private let bytes: [UInt8]
    private let type: Int32

    /// The handle of what a path leads to.
    init(_ path: String) throws(Errno) {
        var bytes = [UInt8](repeating: 0, count: 128)
        var length: UInt32 = 0
        var type: Int32 = 0
        var mount: Int32 = 0
        try call { CLinux_name_to_handle(AT_FDCWD, path, 0, &bytes, &length, &type, &mount) }
        self.bytes = Array(bytes[..<Int(length)])
        self.type = type
    }

    /// Opens what the handle names on the file system that is mounted at `mountpoint`.
    func open(_ mountpoint: String, flags: Int32 = O_RDONLY) throws(Errno) -> TestFile {
        let mount = try Descriptor(path: mountpoint, flags: O_RDONLY | O_DIRECTORY)
        let raw = mount.raw
        return TestFile(
            owning: try call {
                CLinux_open_by_handle(raw, bytes, UInt32(bytes.count), type, flags | O_CLOEXEC)
            })
    }

    /// The error of opening it, nil when it opens.
    func failure(_ mountpoint: String) -> Errno? {
        do throws(Errno) {
            _ = try open(mountpoint)
            return nil
        } catch {
            return error
        }
    }
}
