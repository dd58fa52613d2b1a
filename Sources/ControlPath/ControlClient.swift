import Glibc
import Policy
import Syscalls

/// Asks the server of a mount over its control socket.
package enum ControlClient {
    /// Sends one request line and reads the answer. Throws ENOENT or ECONNREFUSED when no server
    /// listens at `path`, ETIMEDOUT when the answer does not come in `milliseconds`, EIO when the
    /// connection ends without one, EINVAL for a request that is no single line.
    package static func request(
        _ line: String, path: String, milliseconds: UInt64
    ) throws(Errno) -> String {
        try ControlConnection(path: path).ask(line, milliseconds: milliseconds)
    }
}

/// A connection to the server of a mount, for as long as it is kept. Programs that are started
/// meanwhile do not get it.
package final class ControlConnection: Sendable {
    private let socket: Descriptor

    /// Connects. Throws ENOENT or ECONNREFUSED when no server listens at `path`.
    package init(path: String) throws(Errno) {
        let socket = try UnixSocket.make()
        try UnixSocket.withAddress(path) { (address, size) throws(Errno) in
            _ = try call { connect(socket.raw, address, size) }
        }
        self.socket = socket
    }

    /// Sends one line and reads the answer. Throws like `ControlClient.request`.
    package func ask(_ line: String, milliseconds: UInt64) throws(Errno) -> String {
        guard !line.utf8.contains(10), line.utf8.count <= Limits.controlLine else {
            throw .invalid
        }
        let deadline = monotonicNanoseconds() + .milliseconds(milliseconds)
        // A server that has closed the connection may have said why.
        _ = UnixSocket.writeLine(line, to: socket.raw, deadline: deadline)
        guard
            let answer = UnixSocket.readLine(
                from: socket.raw, limit: Limits.controlAnswer, deadline: deadline)
        else { throw monotonicNanoseconds() >= deadline ? .timedOut : .io }
        return answer
    }
}
