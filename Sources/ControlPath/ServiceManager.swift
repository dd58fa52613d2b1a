import Glibc
import Syscalls

/// What surrounds the service: the log of the machine, and systemd.
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
}
