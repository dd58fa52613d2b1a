import CPosix
import Glibc
import Synchronization
import Syscalls
import TestSupport

/// What systemd is to a unit's main process: it starts it, listens to what it says, and keeps its
/// descriptors for the next one.
final class FakeServiceManager: Sendable {
    private struct State {
        var kept: [(name: String, descriptor: Int32)] = []
        var said: [String] = []
    }

    private let socket: Int32
    private let path: String
    private let state = Mutex(State())
    private let isOver = SharedFlag()
    private let space: TemporaryFolder

    init() throws {
        space = try TemporaryFolder("manager")
        path = space.path("notify")
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        socket = try call { Glibc.socket(AF_UNIX, type, 0) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = Array(path.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let socket = socket
        try call {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(socket, $0, size)
                }
            }
        }
        try Thread(name: "manager") { [self] in listen() }.detach()
    }

    /// What is kept is closed: a mount that nobody else has ends here, and whoever waits for it
    /// gets an error instead of waiting for ever.
    func stop() {
        isOver.set()
        forget { _ in true }
    }

    /// Starts a main process, with what the last one left.
    func start(_ arguments: [String]) throws -> ChildProcess {
        let kept = state.withLock { $0.kept }
        var script = "export SYSTEMD_EXEC_PID=$$ NOTIFY_SOCKET='\(path)' WATCHDOG_USEC=2000000\n"
        var copies: [Int32] = []
        defer { for copy in copies { close(copy) } }
        for (index, entry) in kept.enumerated() {
            // Out of the way of the numbers that they get there; not closed by execve(2).
            let copy = try call { fcntl(entry.descriptor, F_DUPFD, 200) }
            copies.append(copy)
            script += "exec \(3 + index)<&\(copy) \(copy)<&-\n"
        }
        if !kept.isEmpty {
            let names = kept.map(\.name).joined(separator: ":")
            script += "export LISTEN_PID=$$ LISTEN_FDS=\(kept.count) LISTEN_FDNAMES='\(names)'\n"
        }
        script += "exec \"$@\""
        return try ChildProcess("bash", ["-c", script, "-", try Programs.forebay] + arguments)
    }

    /// The names of what is kept, in alphabetical order.
    var keptNames: [String] { state.withLock { $0.kept.map(\.name).sorted() } }
    /// How often something was said.
    func count(_ word: String) -> Int {
        state.withLock { $0.said.count { $0.contains(word) } }
    }

    // MARK: - The socket

    private func listen() {
        var bytes = [UInt8](repeating: 0, count: 4096)
        while !isOver.isSet {
            var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 100) > 0 else { continue }
            var descriptors = [Int32](repeating: -1, count: 16)
            var count: Int32 = 16
            let length = CPosix_receive_descriptors(
                socket, &bytes, bytes.count, &descriptors, &count)
            guard length > 0 else { continue }
            hear(
                String(decoding: bytes[..<length], as: UTF8.self),
                Array(descriptors[..<Int(count)]))
        }
        close(socket)
    }

    private func hear(_ text: String, _ descriptors: [Int32]) {
        let lines = text.split(separator: "\n").map(String.init)
        let name = lines.first { $0.hasPrefix("FDNAME=") }.map { String($0.dropFirst(7)) } ?? ""
        if lines.contains("FDSTOREREMOVE=1") { forget { $0 == name } }
        let isNew = lines.contains("FDSTORE=1") && !keptNames.contains(name)
        state.withLock { state in
            state.said.append(text)
            if isNew { state.kept += descriptors.map { (name, $0) } }
        }
        if !isNew { for descriptor in descriptors { close(descriptor) } }
    }

    private func forget(_ condition: (String) -> Bool) {
        let gone = state.withLock { state in
            let gone = state.kept.filter { condition($0.name) }
            state.kept.removeAll { condition($0.name) }
            return gone
        }
        for entry in gone { close(entry.descriptor) }
    }
}
