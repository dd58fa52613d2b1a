import Glibc
import Synchronization
import Syscalls

/// A TCP server on 127.0.0.1 that runs a function for each connection, on a thread of its own.
package final class FakeServer: Sendable {
    /// One connection, in lines.
    package final class Connection: Sendable {
        private let socket: Descriptor
        private let buffer = Mutex<[UInt8]>([])

        fileprivate init(_ raw: Int32) { socket = Descriptor(owning: raw) }

        /// The next line without CR LF; nil at the end.
        package func line() -> String? {
            while true {
                let line = buffer.withLock { buffer -> [UInt8]? in
                    guard let end = buffer.firstIndex(of: 10) else { return nil }
                    defer { buffer.removeSubrange(...end) }
                    return Array(buffer[..<end])
                }
                if let line {
                    let text = line.last == 13 ? line.dropLast() : line[...]
                    return String(decoding: text, as: UTF8.self)
                }
                guard fill() else { return nil }
            }
        }

        /// So many bytes as text; nil when the end comes first.
        package func text(_ count: Int) -> String? {
            while buffer.withLock({ $0.count }) < count { guard fill() else { return nil } }
            return buffer.withLock { buffer in
                defer { buffer.removeFirst(count) }
                return String(decoding: buffer[..<count], as: UTF8.self)
            }
        }

        private func fill() -> Bool {
            var chunk = [UInt8](repeating: 0, count: 4096)
            let count = recv(socket.raw, &chunk, chunk.count, 0)
            guard count > 0 else { return false }
            buffer.withLock { $0 += chunk[..<count] }
            return true
        }

        /// Sends a line.
        package func answer(_ line: String) {
            let bytes = Array((line + "\r\n").utf8)
            _ = send(socket.raw, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        }

        fileprivate func end() { shutdown(socket.raw, Int32(SHUT_RDWR)) }
    }

    /// What the threads share: it outlives the server until they have ended.
    private final class Shared: Sendable {
        let open = Mutex<[Connection]>([])
        let threads = Mutex<[Thread]>([])

        func accept(_ listener: Int32, _ serve: @escaping @Sendable (Connection) -> Void) {
            while true {
                let raw = Glibc.accept(listener, nil, nil)
                guard raw >= 0 else { return }
                let connection = Connection(raw)
                open.withLock { $0.append(connection) }
                let thread = try? Thread(name: "connection") {
                    serve(connection)
                    connection.end()
                }
                if let thread { threads.withLock { $0.append(thread) } }
            }
        }

        func end() {
            for connection in open.withLock({ $0 }) { connection.end() }
            for thread in threads.withLock({ $0 }) { thread.join() }
        }
    }

    /// Where it listens.
    package let port: Int
    private let listener: Int32
    private let shared = Shared()
    private let accepting: Thread

    /// Connections that were made so far.
    package var connections: Int { shared.open.withLock { $0.count } }

    /// Listens on a free port.
    package init(_ serve: @escaping @Sendable (Connection) -> Void) throws(Errno) {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        let raw = try call { socket(AF_INET, type, 0) }
        listener = raw
        port = try LocalAddress.bind(raw)
        try call { listen(raw, 16) }
        accepting = try Thread(name: "fake server") { [shared] in shared.accept(raw, serve) }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        accepting.join()
        shared.end()
        close(listener)
    }
}

/// Addresses of this machine for itself.
package enum LocalAddress {
    /// Binds a socket to a free port of 127.0.0.1 and answers it.
    package static func bind(_ socket: Int32) throws(Errno) -> Int {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                Glibc.bind(socket, address, size) == 0 ? getsockname(socket, address, &size) : -1
            }
        }
        guard status == 0 else { throw .last }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// A port of UDP on which nobody listens now.
    package static func freeDatagramPort() throws(Errno) -> Int {
        let raw = try call { socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0) }
        defer { close(raw) }
        return try bind(raw)
    }
}
