import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

@testable import Alerts

/// Channels against servers that answer as real ones do.
@Suite(.serialized) struct ChannelTests {
    private let space: TemporaryFolder
    private let alert = Alert(
        mount: "vms", mountpoint: "/srv/vms", host: "cache1",
        event: Event(.datastore, .problem, "the datastore is away"), suppressed: 2,
        time: 1_700_000_000)

    init() throws {
        space = try TemporaryFolder("channels")
        try Files.write(space.path("secret"), Array("s3cret \"quoted\"\n".utf8), mode: 0o600)
    }

    private func channels(_ text: String) throws -> [any AlertChannel] {
        try AlertConfiguration(parsing: text, path: "alerts.toml").channels
    }

    private func channel(_ text: String) throws -> any AlertChannel {
        try #require(try channels(text).first)
    }

    /// A program of the test's own, as a script.
    private func program(_ name: String, _ body: String) throws -> String {
        try Files.write(space.path(name), Array("#!/bin/sh\n\(body)\n".utf8), mode: 0o755)
        return space.path(name)
    }

    // MARK: - Script

    @Test func aScriptHasTheEventInItsEnvironmentAndInput() throws {
        let path = try program("hook", "env >\(space.path("env"))\ncat >\(space.path("input"))")
        let script = try channel("[script]\nprogram = \"\(path)\"")
        try script.send(alert, milliseconds: 10_000)
        #expect(try Files.text(space.path("input")) == alert.json + "\n")
        let variables = try Files.text(space.path("env")).split(separator: "\n")
        for variable in [
            "FOREBAY_MOUNT=vms", "FOREBAY_CLASS=datastore", "FOREBAY_STATE=problem",
            "FOREBAY_TEXT=the datastore is away", "FOREBAY_SUPPRESSED=2",
            "FOREBAY_TIME=2023-11-14T22:13:20Z",
        ] { #expect(variables.contains { $0 == variable }, "\(variable)") }
    }

    @Test func aScriptThatFailsTellsWhy() throws {
        let path = try program("hook", "yes | head -c 1000000\necho >&2 no paper\nexit 3")
        let script = try channel("[script]\nprogram = \"\(path)\"")
        let failure = #expect(throws: AlertFailure.self) {
            try script.send(alert, milliseconds: 10_000)
        }
        #expect(failure?.reason.contains("status 3") == true, "\(failure?.reason ?? "")")
        let killed = try channel("[script]\nprogram = \"\(try program("killed", "kill -9 $$"))\"")
        let signal = #expect(throws: AlertFailure.self) {
            try killed.send(alert, milliseconds: 10_000)
        }
        #expect(signal?.reason.contains("signal 9") == true)
    }

    @Test func aScriptThatHangsIsKilledWithItsChildren() throws {
        let path = try program("hook", "sleep 1000 & echo $! >\(space.path("pid"))\nwait")
        let script = try channel("[script]\nprogram = \"\(path)\"")
        #expect(throws: AlertFailure.self) { try script.send(alert, milliseconds: 1000) }
        let text = try Files.text(space.path("pid")).split(separator: "\n")
        let child = try #require(text.first.flatMap { Int32($0) })
        #expect(eventually(within: 5) { !ProcessTable.isAlive(child) })
    }

    @Test func aScriptThatLeavesSomethingBehindIsNotWaitedFor() throws {
        let path = try program("hook", "sleep 3 &\nexit 0")
        let script = try channel("[script]\nprogram = \"\(path)\"")
        let start = monotonicNanoseconds()
        try script.send(alert, milliseconds: 10_000)
        #expect(monotonicNanoseconds() - start < .milliseconds(2500))
    }

    // MARK: - Webhook

    @Test func aWebhookPostsTheObject() throws {
        let server = try FakeWebServer()
        let webhook = try channel(
            """
            [webhook]
            url = "http://127.0.0.1:\(server.port)/hook?x=1"
            token_file = "\(space.path("secret"))"
            """)
        try webhook.send(alert, milliseconds: 10_000)
        let request = try #require(server.requests.first)
        #expect(request.line == "POST /hook?x=1 HTTP/1.1")
        #expect(request.headers["content-type"] == "application/json")
        #expect(request.headers["authorization"] == "Bearer s3cret \"quoted\"")
        #expect(request.body == alert.json)
        server.answer(status: 503)
        let failure = #expect(throws: AlertFailure.self) {
            try webhook.send(alert, milliseconds: 10_000)
        }
        #expect(failure?.reason == "the server answered with status 503")
    }

    // MARK: - Mail

    private func mail(_ port: Int, _ more: String = "") -> String {
        """
        [mail]
        server = "127.0.0.1"
        port = \(port)
        from = "forebay@example.com"
        to = ["one@example.com", "two@example.com"]
        \(more)
        """
    }

    @Test func aMailReachesEveryReceiver() throws {
        let server = try FakeMailServer()
        let mail = try channel(mail(server.port, "security = \"none\""))
        try mail.send(alert, milliseconds: 10_000)
        let taken = try #require(server.mails.first)
        #expect(taken.from == "forebay@example.com")
        #expect(taken.to == ["one@example.com", "two@example.com"])
        #expect(
            taken.lines.contains("Subject: [forebay] cache1 vms: problem: the datastore is away"))
        #expect(taken.lines.contains("besides     2 more events of this class"))
        #expect(server.mails.count == 1)
    }

    @Test func oneReceiverThatIsRefusedDoesNotKeepTheOthersFromTheirMail() throws {
        let server = try FakeMailServer(refused: ["one@example.com"])
        let mail = try channel(mail(server.port, "security = \"none\""))
        try mail.send(alert, milliseconds: 10_000)
        #expect(server.mails.first?.to == ["two@example.com"])
        let other = try FakeMailServer(refused: ["one@example.com", "two@example.com"])
        let none = try channel(self.mail(other.port, "security = \"none\""))
        #expect(throws: AlertFailure.self) { try none.send(alert, milliseconds: 10_000) }
    }

    @Test func withoutTLSWhereItIsAskedForNothingIsSent() throws {
        let server = try FakeMailServer()
        let mail = try channel(mail(server.port))
        #expect(throws: AlertFailure.self) { try mail.send(alert, milliseconds: 10_000) }
        #expect(server.mails.isEmpty)
    }

    // MARK: - Together

    @Test func aServerThatHangsHoldsUpItsChannelOnly() throws {
        let silent = try FakeServer { connection in _ = connection.line() }
        let web = try FakeWebServer()
        let text =
            mail(silent.port, "security = \"none\"")
            + "\n[webhook]\nurl = \"http://127.0.0.1:\(web.port)/\""
        let dispatch = Dispatch(try channels(text), attempt: 1500, patience: 3000)
        let start = monotonicNanoseconds()
        let outcome = Condition<[Dispatch.Loss]?>(nil)
        let thread = try Thread(name: "deliver") { [alert] in
            let losses = dispatch.deliver([alert, alert], state: nil)
            outcome.update { $0 = losses }
        }
        #expect(eventually(within: 1) { web.requests.count == 2 })
        #expect(outcome.withLock { $0 } == nil)
        thread.join()
        let losses = try #require(outcome.withLock { $0 })
        #expect(losses.map(\.channel) == ["mail", "mail"])
        #expect(silent.connections >= 2)
        #expect(monotonicNanoseconds() - start < .seconds(6))
    }

    @Test func aFailedDeliveryIsTriedAgain() throws {
        let server = try FakeWebServer()
        server.answer(status: 500)
        let web = try channels("[webhook]\nurl = \"http://127.0.0.1:\(server.port)/\"")
        let thread = try Thread(name: "mend") {
            _ = eventually { server.requests.count == 1 }
            server.answer(status: 204)
        }
        #expect(Dispatch(web).deliver([alert], state: nil).isEmpty)
        thread.join()
        #expect(server.requests.count == 2)
        server.answer(status: 500)
        let losses = Dispatch(web).deliver([alert], state: nil)
        #expect(losses.map(\.reason) == ["the server answered with status 500"])
        #expect(server.requests.count == 2 + Limits.alertAttempts)
    }

    @Test func classesThatAChannelDoesNotTellPassIt() throws {
        let server = try FakeWebServer()
        let web = try channels(
            "[webhook]\nurl = \"http://127.0.0.1:\(server.port)/\"\nclasses = [\"server\"]")
        #expect(Dispatch(web).deliver([alert], state: nil).isEmpty)
        #expect(server.requests.isEmpty)
    }

    @Test func deliveriesOfOneChannelTakeTurns() throws {
        // The locks are those of processes: another one holds the channel here.
        let path = space.path("state")
        let state = try AlertState(path)
        let script = """
            import fcntl, sys, time
            file = open(sys.argv[1], "r+")
            fcntl.lockf(file, fcntl.LOCK_EX, 1, 1)
            print("held", flush=True)
            time.sleep(1000)
            """
        let holder = try ChildProcess("python3", ["-c", script, path])
        try #require(eventually(within: 20) { holder.outputs.contains("held") })
        #expect(!state.takeChannel(0, until: monotonicNanoseconds() + .milliseconds(200)))
        #expect(state.takeChannel(1, until: 0))
        holder.kill()
        #expect(state.takeChannel(0, until: monotonicNanoseconds() + .seconds(10)))
    }
}
