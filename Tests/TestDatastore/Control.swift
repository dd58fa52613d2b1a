import Glibc
import Syscalls

/// The control socket: a UNIX stream socket that takes one command per line and answers each with
/// one line, `ok …` or `error …`. Each connection has a thread.
final class Control: Sendable {
    private let faults: Faults
    private let path: String
    private let listener: Int32

    /// The longest command, in bytes; the connection of a longer one is closed.
    private static let lineLength = 4096

    /// Binds the socket; a file left behind by an earlier run is replaced.
    init(path: String, faults: Faults) throws(Errno) {
        self.faults = faults
        self.path = path
        listener = try call { socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0) }
        _ = fcntl(listener, F_SETFD, FD_CLOEXEC)
        unlink(path)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        // One byte stays for the NUL at the end.
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw .nameTooLong
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        try withUnsafePointer(to: address) { (pointer) throws(Errno) in
            let generic = UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self)
            try call { bind(listener, generic, size) }
        }
        try call { chmod(path, 0o600) }
        try call { listen(listener, 64) }
    }

    /// Begins to accept connections.
    func start() throws(Errno) {
        let thread = try Thread(name: "control") { [self] in
            while true {
                let connection = accept(listener, nil, nil)
                if connection < 0 {
                    if errno == EINTR || errno == ECONNABORTED || errno == EMFILE { continue }
                    return
                }
                serve(connection)
            }
        }
        thread.detach()
    }

    /// Removes the socket's name.
    func remove() { unlink(path) }

    private func serve(_ connection: Int32) {
        do throws(Errno) {
            try Thread(name: "control client") { [self] in
                converse(connection)
                close(connection)
            }.detach()
        } catch {
            close(connection)
        }
    }

    private func converse(_ connection: Int32) {
        var pending: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: Self.lineLength)
        var hasLease = false
        while true {
            let count = read(connection, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            pending.append(contentsOf: buffer[..<count])
            while let end = pending.firstIndex(of: 10) {
                let line = String(decoding: pending[..<end], as: UTF8.self)
                pending.removeSubrange(...end)
                if line == "lease" { hasLease = true }
                let reply = Array((hasLease && line == "lease" ? "ok" : answer(line)).utf8) + [10]
                guard send(connection, reply, reply.count, Int32(MSG_NOSIGNAL)) > 0 else {
                    break
                }
            }
            if pending.count > Self.lineLength { break }
        }
        // Whoever started the datastore is gone without stopping it.
        if hasLease { kill(getpid(), SIGTERM) }
    }

    private func answer(_ line: String) -> String {
        do throws(CommandError) {
            let text = try faults.run(line)
            return text.isEmpty ? "ok" : "ok \(text)"
        } catch {
            return "error \(error.text)"
        }
    }
}
