import CLinux
import Glibc
import Syscalls

/// A new folder below /tmp, or where `base` says, that is removed, with all that is in it, when the
/// object goes. What is still mounted inside it is unmounted first, so that nothing is removed
/// through a mount.
package final class TemporaryFolder: Sendable {
    /// The folder, absolute, without symbolic links.
    package let path: String

    /// `label` appears in the folder's name. Throws an `Errno` of mkdtemp(3).
    package init(_ label: String = "test") throws(Errno) {
        var template = Array("\(Self.base)/forebay-\(label)-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Errno.last }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Where the folders are made: the first usual place whose file system can open files by their
    /// handles, as an NFS mount can. The layers of a container's root often cannot.
    private static let base: String =
        ["/tmp", "/var/tmp", "/dev/shm"].first { hasHandles($0) } ?? "/tmp"

    private static func hasHandles(_ path: String) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 128)
        var (length, type, mount): (UInt32, Int32, Int32) = (0, 0, 0)
        guard let folder = try? Descriptor(path: path, flags: O_RDONLY | O_DIRECTORY),
            CLinux_name_to_handle(AT_FDCWD, path, 0, &bytes, &length, &type, &mount) == 0
        else { return false }
        let again = CLinux_open_by_handle(folder.raw, bytes, length, type, O_RDONLY)
        guard again >= 0 else { return false }
        close(again)
        return true
    }

    /// The path of something in the folder, which need not exist.
    package func path(_ name: String) -> String { "\(path)/\(name)" }

    /// Makes a folder in the folder and returns its path.
    package func makeFolder(_ name: String) throws(Errno) -> String {
        let path = path(name)
        try call { mkdir(path, 0o755) }
        return path
    }

    deinit {
        Mounts.removeAll(below: path)
        Files.removeTree(path)
    }
}
