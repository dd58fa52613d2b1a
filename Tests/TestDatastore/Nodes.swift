import CFuse
import CLinux
import Glibc
import Synchronization
import Syscalls

/// Which number stands for which file of the folder.
///
/// A number must never come to mean another file, and must be understood after the kernel has
/// forgotten it, because file handles of the mount hold nothing else. So it is made from the
/// folder's own file handle (open_by_handle_at(2)), which has an inode's generation in it. Where
/// the handle is an inode number and a generation of 32 bits each (ext4, tmpfs) the node's number
/// *is* the handle, and survives a restart too; elsewhere a table says which handle it stands for.
final class Nodes: Sendable {
    static let root = fuse_ino_t(FUSE_ROOT_ID)

    struct Handle: Hashable {
        var type: Int32
        var bytes: [UInt8]

        /// The first eight bytes as a number.
        var packed: UInt64 { bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) } }

        /// 64 bits of FNV-1a over all of the handle.
        var hash: UInt64 {
            let types = withUnsafeBytes(of: type) { Array($0) }
            return (types + bytes).reduce(0xcbf2_9ce4_8422_2325) { hash, byte in
                (hash ^ UInt64(byte)) &* 0x100_0000_01b3
            }
        }
    }

    /// The folder itself.
    let folder: Int32
    private let rootHandle: Handle
    private let mountID: Int32
    private let table = Mutex<[UInt64: Handle]>([:])

    init(folder path: String) throws(Errno) {
        let descriptor = try Descriptor(path: path, flags: O_RDONLY | O_DIRECTORY)
        (rootHandle, mountID) = try Self.handle(of: descriptor.raw)
        folder = descriptor.release()
    }

    /// Opens the file that a node stands for. Throws ESTALE when there is no such file any more.
    func open(_ node: fuse_ino_t, flags: Int32) throws(Errno) -> Descriptor {
        if node == Self.root {
            return try Descriptor(directory: folder, name: ".", flags: flags)
        }
        let handle = try handle(of: node)
        let flags = flags | O_CLOEXEC
        let raw = try call {
            CLinux_open_by_handle(
                folder, handle.bytes, UInt32(handle.bytes.count), handle.type, flags)
        }
        return Descriptor(owning: raw)
    }

    /// A descriptor that stands for the file but opens nothing (O_PATH).
    func reference(_ node: fuse_ino_t) throws(Errno) -> Descriptor {
        try open(node, flags: CLinux_O_PATH)
    }

    /// The node of an open file. Throws EXDEV for what is mounted inside the folder.
    func node(of descriptor: Int32) throws(Errno) -> fuse_ino_t {
        let (handle, mount) = try Self.handle(of: descriptor)
        guard mount == mountID else { throw .crossDevice }
        if handle == rootHandle { return Self.root }
        if hasPackedForm(handle) { return handle.packed }
        return table.withLock { table in
            var node = handle.hash
            while true {
                if node > Self.root, table[node] == nil { table[node] = handle }
                if table[node] == handle { return node }
                node &+= 1
            }
        }
    }

    private func handle(of node: fuse_ino_t) throws(Errno) -> Handle {
        if let handle = table.withLock({ $0[node] }) { return handle }
        var bytes = withUnsafeBytes(of: node) { Array($0) }
        bytes += [UInt8](repeating: 0, count: max(0, rootHandle.bytes.count - bytes.count))
        let handle = Handle(type: rootHandle.type, bytes: bytes)
        guard hasPackedForm(handle) else { throw .stale }
        return handle
    }

    /// Whether the first eight bytes tell all: ext4 has no more, tmpfs four more for the upper half
    /// of the inode number. 1 is FILEID_INO32_GEN of the kernel.
    private func hasPackedForm(_ handle: Handle) -> Bool {
        guard rootHandle.type == 1, handle.type == 1, handle.packed > Self.root else {
            return false
        }
        let count = handle.bytes.count
        guard count == rootHandle.bytes.count, count == 8 || count == 12 else { return false }
        return handle.bytes[8...].allSatisfy { $0 == 0 }
    }

    private static func handle(of descriptor: Int32) throws(Errno) -> (Handle, mount: Int32) {
        var bytes = [UInt8](repeating: 0, count: 128)
        var length: UInt32 = 0
        var type: Int32 = 0
        var mount: Int32 = 0
        try call {
            CLinux_name_to_handle(
                descriptor, "", CLinux_AT_EMPTY_PATH, &bytes, &length, &type, &mount)
        }
        return (Handle(type: type, bytes: Array(bytes.prefix(Int(length)))), mount)
    }
}
