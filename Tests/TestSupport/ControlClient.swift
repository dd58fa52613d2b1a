import Glibc
import Synchronization
import Syscalls

/// A connection to a control socket of lines: each command gets one line back. Threads may share
/// it.
package final class ControlClient: Sendable {
    private let socketPath: String
    private let connection = Mutex<Int32?>(nil)

    /// A client of the UNIX socket at `path`, not connected yet.
    package init(_ path: String) { socketPath = path }

    deinit { disconnect() }

    /// Connects; false when nobody listens there.
    package func connect() -> Bool {
        let raw = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard raw >= 0 else { return false }
        _ = fcntl(raw, F_SETFD, FD_CLOEXEC)
        // No answer within this time is a failure, not a reason to wait for ever.
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(
            raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(socketPath.utf8.prefix(MemoryLayout.size(ofValue: address.sun_path) - 1))
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let result = withUnsafePointer(to: address) { pointer in
            Glibc.connect(
                raw, UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self),
                socklen_t(MemoryLayout<sockaddr_un>.size))
        }
        guard result == 0 else {
            close(raw)
            return false
        }
        connection.withLock { $0 = raw }
        return true
    }

    /// Closes the connection.
    package func disconnect() {
        connection.withLock { connection in
            if let raw = connection { close(raw) }
            connection = nil
        }
    }

    /// Sends a line and returns what stands behind `ok` in the line that comes back. Throws a
    /// `TestFailure` for everything else.
    package func command(_ line: String) throws(TestFailure) -> String {
        let reply = connection.withLock { connection -> String? in
            guard let raw = connection else { return nil }
            let bytes = Array("\(line)\n".utf8)
            guard send(raw, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
                return nil
            }
            var reply: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            while reply.last != 10 {
                let count = recv(raw, &buffer, buffer.count, 0)
                guard count > 0 else { return nil }
                reply += buffer[..<count]
            }
            return String(decoding: reply.dropLast(), as: UTF8.self)
        }
        guard let reply else { throw TestFailure("no answer to '\(line)' from \(socketPath)") }
        if reply == "ok" { return "" }
        guard reply.hasPrefix("ok ") else { throw TestFailure("'\(line)': \(reply)") }
        return String(reply.dropFirst(3))
    }
}
