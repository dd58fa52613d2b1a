import Glibc
import Syscalls

/// What surrounds the service: the log of the machine, and systemd's notification socket.
package enum ServiceManager {
    /// A descriptor for the standard error of processes that outlive the command: a stream of
    /// systemd's journal (the protocol of sd_journal_stream_fd(3)), or else the file
    /// `server.log` in the state folder, begun anew once it exceeds 1 MiB.
    package static func log(state: String) throws(Errno) -> Descriptor {
        if let stream = journal() { return stream }
        let path = "\(state)/server.log"
        var status = stat()
        let isLarge = stat(path, &status) == 0 && status.st_size > 1 << 20
        let flags = O_WRONLY | O_CREAT | O_APPEND | (isLarge ? O_TRUNC : 0)
        return try Descriptor(path: path, flags: flags, mode: 0o600)
    }

    private static func journal() -> Descriptor? {
        do throws(Errno) {
            let socket = try UnixSocket.make()
            try UnixSocket.withAddress("/run/systemd/journal/stdout") {
                (address, size) throws(Errno) in
                _ = try call { connect(socket.raw, address, size) }
            }
            // Identifier, unit, level, level prefixes are read, and forwarding off three times.
            let header = "forebay\n\n6\n1\n0\n0\n0"
            let deadline = monotonicNanoseconds() + .seconds(1)
            guard UnixSocket.writeLine(header, to: socket.raw, deadline: deadline) else {
                return nil
            }
            return consume socket
        } catch {
            return nil
        }
    }

    /// Tells systemd of a change, such as `READY=1` (sd_notify(3)); does nothing where no manager
    /// listens.
    package static func notify(_ text: String) {
        guard let variable = getenv("NOTIFY_SOCKET") else { return }
        let path = String(cString: variable)
        var name = Array(path.utf8)
        // A leading "@" stands for the NUL byte of abstract names.
        if name.first == UInt8(ascii: "@") { name[0] = 0 }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard !name.isEmpty, name.count < MemoryLayout.size(ofValue: address.sun_path) else {
            return
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let size = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let raw = socket(AF_UNIX, type, 0)
        guard raw >= 0 else { return }
        defer { close(raw) }
        let bytes = Array(text.utf8)
        withUnsafePointer(to: &address) { pointer in
            let raw16 = UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self)
            _ = sendto(raw, bytes, bytes.count, Int32(MSG_NOSIGNAL), raw16, size)
        }
    }
}
