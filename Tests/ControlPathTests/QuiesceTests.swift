import ControlPath
import DataPath
import Glibc
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

/// Holding the datastore still over the control socket.
@Suite(.serialized) final class QuiesceTests {
    private let space: TemporaryFolder
    private let path: String
    private let datastore = FakeDatastore()
    private let server: ControlServer

    init() throws {
        space = try TemporaryFolder("quiesce")
        path = space.path("x.sock")
        let service = ControlService(datastore: datastore, facts: testFacts())
        let ended = Mutex(0)
        server = try ControlServer(path: path) { line in
            // A hold that nobody waits ten seconds for.
            if line == "short" {
                return ControlAnswer(
                    "{}",
                    hold: ControlHold(seconds: 1) { isByClient in
                        ended.withLock { $0 += 1 }
                        return "{\"by_client\":\(isByClient)}"
                    })
            }
            return service.answer(line)
        }
    }

    deinit { server.stop() }

    private func ask(
        _ connection: ControlConnection, _ line: String
    ) throws -> JSONValue {
        let answer = try connection.ask(line, milliseconds: 20_000)
        return try #require(JSONValue(parsing: answer))
    }

    private var isQuiesced: Bool { datastore.state.withLock { $0.isQuiesced } }

    private func eventually(_ condition: () -> Bool) -> Bool {
        for _ in 0..<2000 {
            if condition() { return true }
            sleep(milliseconds: 5)
        }
        return false
    }

    @Test func itLastsUntilTheClientsWord() throws {
        let connection = try ControlConnection(path: path)
        #expect(try ask(connection, "quiesce 60")["done"] == .flag(true))
        #expect(isQuiesced)
        let second = try ask(try ControlConnection(path: path), "quiesce 60")
        #expect(second["errno"]?.unsigned == UInt64(EBUSY))
        #expect(isQuiesced)
        #expect(try ask(connection, "release")["done"] == .flag(true))
        #expect(!isQuiesced)
        #expect(datastore.state.withLock { $0.releases } == 1)
        #expect(datastore.state.withLock { $0.flushed } == [1])
    }

    @Test func itEndsWithItsClient() throws {
        do {
            let connection = try ControlConnection(path: path)
            #expect(try ask(connection, "quiesce 60")["done"] == .flag(true))
            withExtendedLifetime(connection) { #expect(isQuiesced) }
        }
        #expect(eventually { !isQuiesced })
    }

    @Test func itEndsByItselfAndSaysSo() throws {
        let connection = try ControlConnection(path: path)
        _ = try ask(connection, "short")
        sleep(milliseconds: 1200)
        #expect(try ask(connection, "release")["by_client"] == .flag(false))
    }

    @Test func aFlushThatTakesTooLongIsNotWaitedFor() throws {
        datastore.state.withLock { $0.flushTime = 60_000 }
        let refused = try ask(try ControlConnection(path: path), "quiesce 1")
        #expect(refused["errno"]?.unsigned == UInt64(ETIMEDOUT))
        #expect(!isQuiesced)
        let flush = try ask(try ControlConnection(path: path), "flush-within 1 /file")
        #expect(flush["errno"]?.unsigned == UInt64(ETIMEDOUT))
        datastore.state.withLock { $0.flushTime = 0 }
        let done = try ask(try ControlConnection(path: path), "flush-within 5 /file")
        #expect(done["done"] == .flag(true))
        #expect(datastore.state.withLock { $0.flushed } == [2])
    }

    @Test(arguments: [
        "quiesce", "quiesce x", "quiesce 0", "quiesce 86401", "quiesce 1 2", "quiesce -1",
        "flush-within", "flush-within x", "flush-within 0 /file", "flush-within 5 /nowhere",
    ])
    func badRequests(line: String) throws {
        #expect(try ask(try ControlConnection(path: path), line)["error"] != nil)
        #expect(!isQuiesced)
    }
}
