import CLinux
import DataPath
import Glibc
import Policy
import Syscalls

/// The control socket of a mount: one request line and one answer line a connection (a hold has
/// two of each), each on a thread of its own, so that neither a slow client nor a request that
/// waits for the datastore holds up the others. Only root is answered.
package final class ControlServer: Sendable {
    private let path: String
    private let identity: (device: UInt64, inode: UInt64)
    private let listener: Int32
    private let state = Condition(State())
    private let answer: @Sendable (String) -> ControlAnswer

    private struct State {
        var connections = 0
        var isAccepting = true
    }

    /// Binds the socket (mode 0600, in a folder of mode 0700 that is made when missing) in the
    /// place of one that a dead server left, and starts the thread that accepts. `answer` runs on
    /// threads that may wait for the datastore. Throws the error number of what failed.
    package init(
        path: String, answer: @escaping @Sendable (String) -> ControlAnswer
    ) throws(Errno) {
        self.path = path
        self.answer = answer
        let folder = path.split(separator: "/").dropLast().joined(separator: "/")
        if mkdir("/" + folder, 0o700) != 0 && errno != EEXIST { throw .last }
        // Bound under another name first: the rename replaces a dead server's socket at once.
        let fresh = "\(path).\(getpid())"
        unlink(fresh)
        let socket = try UnixSocket.make()
        try UnixSocket.withAddress(fresh) { (address, size) throws(Errno) in
            _ = try call { bind(socket.raw, address, size) }
        }
        var status = stat()
        do throws(Errno) {
            try call { chmod(fresh, 0o600) }
            try call { listen(socket.raw, 16) }
            try call { stat(fresh, &status) }
            try call { rename(fresh, path) }
        } catch {
            unlink(fresh)
            throw error
        }
        identity = (UInt64(status.st_dev), UInt64(status.st_ino))
        listener = socket.release()
        try Thread(name: "control") { [self] in accept() }.detach()
    }

    /// Takes no more connections and removes the socket, unless a successor has put its own in
    /// its place. Connections that are open are answered to their end.
    package func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        _ = state.wait { state in state.isAccepting ? nil : true }
        var status = stat()
        if stat(path, &status) == 0,
            identity == (UInt64(status.st_dev), UInt64(status.st_ino))
        {
            unlink(path)
        }
    }

    deinit { close(listener) }

    // MARK: - Threads

    private func accept() {
        defer { state.update { $0.isAccepting = false } }
        while true {
            let connection = Glibc.accept(listener, nil, nil)
            // EINVAL is what `stop` brings about.
            if connection < 0 && errno == EINVAL { return }
            guard connection >= 0 else {
                // Out of descriptors, or the client went: neither ends the service.
                sleep(milliseconds: 10)
                continue
            }
            _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
            start(connection)
        }
    }

    private func start(_ connection: Int32) {
        let hasRoom = state.withLock { state in
            guard state.connections < Limits.controlConnections else { return false }
            state.connections += 1
            return true
        }
        guard hasRoom else {
            let deadline = monotonicNanoseconds() + .milliseconds(10)
            _ = UnixSocket.writeLine(
                ControlService.failure("too many connections"), to: connection,
                deadline: deadline)
            close(connection)
            return
        }
        do throws(Errno) {
            try Thread(name: "control-client") { [self] in
                serve(connection)
                close(connection)
                state.withLock { $0.connections -= 1 }
            }.detach()
        } catch {
            close(connection)
            state.withLock { $0.connections -= 1 }
        }
    }

    private func serve(_ connection: Int32) {
        WaitMode.set(mayWait: true)
        var uid: UInt32 = .max
        guard CLinux_peer_user(connection, &uid) == 0, uid == 0 else { return }
        let patience: UInt64 = .milliseconds(Limits.controlPatience)
        guard
            let line = UnixSocket.readLine(
                from: connection, limit: Limits.controlLine,
                deadline: monotonicNanoseconds() + patience)
        else { return }
        let answer = answer(line)
        let deadline = monotonicNanoseconds() + patience
        _ = UnixSocket.writeLine(answer.text, to: connection, deadline: deadline)
        answer.afterwards?()
        if let hold = answer.hold { keep(hold, connection) }
    }

    /// Waits for the client's next word or its end, and ends what was held for it.
    private func keep(_ hold: ControlHold, _ connection: Int32) {
        let deadline = monotonicNanoseconds() + .seconds(hold.seconds)
        _ = UnixSocket.readLine(from: connection, limit: Limits.controlLine, deadline: deadline)
        let text = hold.end(monotonicNanoseconds() < deadline)
        _ = UnixSocket.writeLine(
            text, to: connection,
            deadline: monotonicNanoseconds() + .milliseconds(Limits.controlPatience))
    }
}
