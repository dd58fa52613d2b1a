import Glibc
import Policy
import Syscalls

/// Keeps the name of a mount from being used by a second one, which would take over its control
/// socket and its state. An address in the abstract namespace (unix(7)): it needs no file and is
/// gone with the process that holds it.
final class NameLock {
    private let socket: Descriptor

    /// Throws when another mount of this machine has the name.
    init(_ name: String) throws(Refusal) {
        do throws(Errno) {
            let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
            socket = Descriptor(owning: try call { Glibc.socket(AF_UNIX, type, 0) })
            try Self.bind(socket.raw, to: "forebay/\(name)")
        } catch {
            let isUsed = error.code == EADDRINUSE
            throw Refusal(
                "name=\(name)", isUsed ? "is in use by another mount" : "\(error)",
                hint: "choose another name")
        }
    }

    private static func bind(_ socket: Int32, to name: String) throws(Errno) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(name.utf8)
        // The path begins with a NUL: that makes it abstract.
        let offset = MemoryLayout.offset(of: \sockaddr_un.sun_path) ?? 2
        guard 1 + bytes.count <= MemoryLayout<sockaddr_un>.size - offset else {
            throw .nameTooLong
        }
        withUnsafeMutableBytes(of: &address) { space in
            for (index, byte) in bytes.enumerated() { space[offset + 1 + index] = byte }
        }
        let size = socklen_t(offset + 1 + bytes.count)
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(socket, $0, size)
            }
        }
        if status != 0 { throw .last }
    }
}
