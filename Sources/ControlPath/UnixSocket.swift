import Glibc
import Syscalls

/// Stream sockets of the UNIX domain (unix(7)) with one line each way.
enum UnixSocket {
    /// A socket and the address of a path. Throws ENAMETOOLONG for paths over 107 bytes.
    static func withAddress<Result>(
        _ path: String,
        _ body: (UnsafePointer<sockaddr>, socklen_t) throws(Errno) -> Result
    ) throws(Errno) -> Result {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path), !bytes.contains(0) else {
            throw .nameTooLong
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return try withUnsafePointer(to: &address) { (pointer) throws(Errno) in
            let raw = UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self)
            return try body(raw, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }

    /// A new stream socket.
    static func make() throws(Errno) -> Descriptor {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        return Descriptor(owning: try call { socket(AF_UNIX, type, 0) })
    }

    /// Reads until a line feed, which is left out. nil when the other side closes first, the line
    /// is longer than `limit` bytes, or the monotonic time `deadline` passes.
    static func readLine(from socket: Int32, limit: Int, deadline: UInt64) -> String? {
        var line: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while line.count <= limit {
            guard wait(socket, for: Int16(POLLIN), deadline: deadline) else { return nil }
            let count = recv(socket, &chunk, chunk.count, Int32(MSG_DONTWAIT))
            if count < 0 {
                if errno == EAGAIN || errno == EINTR { continue }
                return nil
            }
            guard count > 0 else { return nil }
            if let end = chunk[..<count].firstIndex(of: 10) {
                line.append(contentsOf: chunk[..<end])
                return line.count <= limit ? String(decoding: line, as: UTF8.self) : nil
            }
            line.append(contentsOf: chunk[..<count])
        }
        return nil
    }

    /// Sends a text and a line feed. False when the other side does not take it all in time.
    static func writeLine(_ text: String, to socket: Int32, deadline: UInt64) -> Bool {
        let bytes = Array(text.utf8) + [10]
        var sent = 0
        while sent < bytes.count {
            guard wait(socket, for: Int16(POLLOUT), deadline: deadline) else { return false }
            let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
            let count = bytes[sent...].withUnsafeBytes {
                send(socket, $0.baseAddress, $0.count, flags)
            }
            if count < 0 {
                if errno == EAGAIN || errno == EINTR { continue }
                return false
            }
            sent += count
        }
        return true
    }

    /// True when the socket is ready before the monotonic time `deadline`.
    static func wait(_ socket: Int32, for events: Int16, deadline: UInt64) -> Bool {
        while true {
            let now = monotonicNanoseconds()
            guard now < deadline else { return false }
            let milliseconds = Int32(clamping: (deadline - now) / .milliseconds(1) + 1)
            var entry = pollfd(fd: socket, events: events, revents: 0)
            let ready = poll(&entry, 1, milliseconds)
            if ready > 0 { return true }
            if ready < 0 && errno != EINTR { return false }
        }
    }
}
