import ControlPath
import Policy
import Synchronization
import Testing

/// The orders that concern the server itself, as they come over the control socket.
@Suite struct ServerOrdersTests {
    /// Notes what it is asked for.
    private final class Server: ServerOrders {
        let seen = Mutex<[String]>([])
        let ended = Mutex(0)

        private func note(_ text: String) { seen.withLock { $0.append(text) } }

        func set(_ changes: [String]) throws(Refusal) -> OrderResult {
            if changes == ["bad"] { throw .usage("option 'bad'", "is bad", hint: "do good") }
            note("set " + changes.joined(separator: "|"))
            return OrderResult()
        }

        func bypass(_ isOn: Bool) throws(Refusal) -> OrderResult {
            note("bypass \(isOn)")
            return OrderResult()
        }

        func upgrade() throws(Refusal) -> OrderResult {
            note("upgrade")
            return OrderResult(members: [("restarts", "3")]) { [self] in
                ended.withLock { $0 += 1 }
            }
        }
    }

    private let server = Server()

    private func answer(_ line: String) throws -> (JSONValue, ControlAnswer) {
        let service = ControlService(
            datastore: FakeDatastore(), facts: testFacts(), server: server)
        let answer = service.answer(line)
        return (try #require(JSONValue(parsing: answer.text)), answer)
    }

    @Test func ordersReachTheServer() throws {
        for line in ["set ram=1G", "set  a=1 b=2 ", "bypass on", "bypass off"] {
            let (value, answer) = try answer(line)
            #expect(value["done"] == .flag(true), "\(line)")
            #expect(answer.afterwards == nil)
        }
        #expect(
            server.seen.withLock { $0 } == [
                "set ram=1G", "set a=1|b=2", "bypass true", "bypass false",
            ])
    }

    /// The server ends only once its client has the answer.
    @Test func whatFollowsComesAfterTheAnswer() throws {
        let (value, answer) = try answer("upgrade")
        #expect(value["restarts"]?.plain == "3")
        #expect(server.ended.withLock { $0 } == 0)
        answer.afterwards?()
        #expect(server.ended.withLock { $0 } == 1)
    }

    @Test func refusalsCarryTheirParts() throws {
        let (value, _) = try answer("set bad")
        #expect(value["error"]?.plain == "is bad")
        #expect(value["what"]?.plain == "option 'bad'")
        #expect(value["hint"]?.plain == "do good")
        #expect(value["status"]?.unsigned == 2)
    }

    @Test(arguments: ["bypass", "bypass maybe", "bypass on off", "upgrade now", "UPGRADE"])
    func anythingElseIsUnknown(line: String) throws {
        let (value, _) = try answer(line)
        #expect(value["error"]?.plain == "unknown request")
        #expect(server.seen.withLock { $0 }.isEmpty)
    }

    @Test func statusTellsOfTheBypass() throws {
        let (value, _) = try answer("status")
        #expect(value["bypass"]?.plain == "off")
        #expect(value["program"]?.plain?.hasPrefix("/") == true)
    }
}
