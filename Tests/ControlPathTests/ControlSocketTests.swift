import ControlPath
import Glibc
import Synchronization
import Syscalls
import Testing

@Suite(.serialized) final class ControlSocketTests {
    private let folder: String
    private let path: String
    private let datastore = FakeDatastore()
    private let server: ControlServer

    init() throws {
        folder = "/tmp/forebay-control-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        path = "\(folder)/x.sock"
        let service = ControlService(datastore: datastore, facts: testFacts())
        server = try ControlServer(path: path) { service.answer($0) }
    }

    deinit {
        server.stop()
        rmdir(folder)
    }

    private func ask(_ line: String, milliseconds: UInt64 = 20_000) throws -> JSONValue {
        let answer = try ControlClient.request(line, path: path, milliseconds: milliseconds)
        return try #require(JSONValue(parsing: answer))
    }

    /// A connection of its own, to send what the client would not.
    private func open() throws -> Int32 {
        let raw = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            connect(
                raw, UnsafeRawPointer($0).assumingMemoryBound(to: sockaddr.self),
                socklen_t(MemoryLayout<sockaddr_un>.size))
        }
        try #require(result == 0)
        return raw
    }

    private func permissions(_ path: String) -> UInt32 {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
    }

    @Test func onlyRootReachesIt() {
        #expect(permissions(path) == 0o600)
        #expect(permissions(folder) == 0o700)
    }

    @Test func statusTellsEverything() throws {
        let status = try ask("status")
        #expect(status["name"]?.plain == "nas")
        #expect(status["mountpoint"]?.plain == "/srv/vms")
        #expect(status["all_data_home"] == .flag(true))
        #expect(status["server_pid"]?.unsigned == UInt64(getpid()))
        #expect(status["keeper_pid"]?.unsigned == UInt64(getppid()))
        #expect(status["fuse_requests"]?["READ"]?.unsigned == 7)
        for name in ["reads", "hit_ratio", "dedup_ratio", "health", "version", "last_pause"] {
            #expect(status[name] != nil, "\(name)")
        }
    }

    @Test func ordersAndTheirErrors() throws {
        #expect(try ask("flush")["done"] == .flag(true))
        #expect(try ask("drop /file")["done"] == .flag(true))
        #expect(try ask("flush /nowhere")["errno"]?.unsigned == UInt64(ENOENT))
        datastore.state.withLock {
            #expect($0.flushed == [1])
            #expect($0.dropped == [2])
        }
    }

    @Test(arguments: [
        "", " ", "status x", "STATUS", "flushx", "quit", "\u{1}\u{2}", "flush \u{0}", "{}",
        "drop " + String(repeating: "/x", count: 4000),
    ])
    func badRequestsAreAnsweredWithAnError(line: String) throws {
        #expect(try ask(line)["error"] != nil)
    }

    @Test func garbageEndsTheConnectionOnly() throws {
        for size in [1, 100, 8191, 8193, 100_000] {
            let raw = try open()
            let bytes = (0..<size).map { _ in UInt8.random(in: 0...255) }
            _ = send(raw, bytes, bytes.count, Int32(MSG_NOSIGNAL))
            close(raw)
        }
        #expect(try ask("status")["name"]?.plain == "nas")
    }

    @Test func tooLongALineIsNotAnswered() throws {
        let raw = try open()
        defer { close(raw) }
        let bytes = [UInt8](repeating: 65, count: 20_000) + [10]
        _ = send(raw, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        var byte: UInt8 = 0
        #expect(recv(raw, &byte, 1, 0) <= 0)
    }

    @Test func silentClientsDoNotHoldUpOthers() throws {
        let silent = try (0..<8).map { _ in try open() }
        defer { for raw in silent { close(raw) } }
        #expect(try ask("status")["name"]?.plain == "nas")
    }

    @Test func flushesThatWaitDoNotHoldUpStatus() throws {
        datastore.state.withLock { $0.flushTime = 60_000 }
        let waiting = try (0..<12).map { _ in try open() }
        defer { for raw in waiting { close(raw) } }
        for raw in waiting { _ = send(raw, "flush\n", 6, 0) }
        // Those for which there is no room are answered.
        var entries = waiting.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        #expect(poll(&entries, nfds_t(entries.count), 20_000) > 0)
        #expect(try ask("status")["name"]?.plain == "nas")
    }

    @Test func connectionsAreBounded() throws {
        let held = try (0..<40).map { _ in try open() }
        for raw in held { close(raw) }
        var answer: JSONValue?
        // The server notices the closed connections one after the other.
        for _ in 0..<500 where answer?["name"] == nil {
            answer = try? ask("status")
            sleep(milliseconds: 10)
        }
        #expect(answer?["name"]?.plain == "nas")
    }

    @Test func aSuccessorTakesTheSocketOver() throws {
        let successor = try ControlServer(path: path) { _ in
            ControlAnswer("{\"successor\":true}")
        }
        #expect(try ask("status")["successor"] == .flag(true))
        server.stop()
        #expect(try ask("status")["successor"] == .flag(true))
        successor.stop()
        #expect(throws: Errno.noEntry) {
            try ControlClient.request("status", path: path, milliseconds: 1000)
        }
    }

    @Test func clientsTellWhatIsWrong() {
        #expect(throws: Errno.noEntry) {
            try ControlClient.request("status", path: "/nowhere/x.sock", milliseconds: 100)
        }
        #expect(throws: Errno.invalid) {
            try ControlClient.request("a\nb", path: path, milliseconds: 100)
        }
        let long = "/" + String(repeating: "x", count: 200)
        #expect(throws: Errno.nameTooLong) {
            try ControlClient.request("status", path: long, milliseconds: 100)
        }
    }
}
