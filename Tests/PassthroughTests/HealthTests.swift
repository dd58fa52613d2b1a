import Glibc
import Passthrough
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

@Suite struct HealthTests {
    private static func times(silent: UInt64, away: UInt64, trial: UInt64 = 1) -> HealthTimes {
        var times = HealthTimes()
        times.silentAfter = .milliseconds(silent)
        times.awayAfter = .milliseconds(away)
        times.trial = .milliseconds(trial)
        return times
    }

    @Test func whoIsNotAskedIsHealthy() {
        let health = Health(times: Self.times(silent: 5, away: 10))
        #expect(!health.refresh())
        sleep(milliseconds: 30)
        #expect(!health.refresh())
        #expect(!health.isSilent)
        #expect(!health.isAway)
        #expect(health.silentFor == 0)
        #expect(health.text == "healthy")
        #expect(health.past == HealthPast())
    }

    @Test func aCallWithoutAnswerLeadsToSilentAndAway() throws {
        let health = Health(times: Self.times(silent: 40, away: 120))
        let call = try HeldCall(health)
        #expect(!health.refresh())
        #expect(eventually { health.refresh() })
        #expect(health.isSilent)
        #expect(health.text.hasPrefix("degraded: "))
        #expect(
            eventually {
                _ = health.refresh(); return health.isAway
            })
        #expect(health.silentFor > .milliseconds(120))
        #expect(health.text.hasPrefix("away: "))
        #expect(health.past.silentSince > 0)
        #expect(health.past.state == .away)
        call.end()
        #expect(!health.refresh())
        #expect(!health.isSilent)
        #expect(!health.isAway)
        #expect(health.text.hasPrefix("degraded: "), "on trial")
        #expect(
            eventually {
                _ = health.refresh(); return health.state == .healthy
            })
        #expect(health.transitions == 4)
    }

    /// One file may be stuck behind a lock on the server while all others are answered.
    @Test func answersToOthersMeanThatItIsThere() throws {
        let health = Health(times: Self.times(silent: 300, away: 600))
        let call = try HeldCall(health)
        for _ in 0..<40 {
            sleep(milliseconds: 10)
            health.end(health.begin())
            #expect(!health.refresh())
        }
        #expect(!health.isSilent)
        call.end()
    }

    /// What the kernel answers of its own memory proves nothing, nor do errors of its own.
    @Test func answersOfTheKernelAreNoSignOfLife() throws {
        let health = Health(times: Self.times(silent: 100, away: 10_000))
        let call = try HeldCall(health)
        #expect(
            eventually {
                for kind in [CallKind.other, .read] { health.end(health.begin(kind)) }
                health.end(health.begin(), .exists)
                health.end(health.begin(), .timedOut)
                return health.refresh()
            })
        health.end(health.begin(), .io)
        #expect(!health.refresh(), "an error of the datastore is an answer")
        call.end()
    }

    /// A mount with `softerr` ends each call; that it could not be asked is a silence all the same.
    @Test func callsThatEndWithoutAnAnswerAreSilence() {
        let health = Health(times: Self.times(silent: 50, away: 10_000))
        #expect(
            eventually {
                health.end(health.begin(), .timedOut)
                sleep(milliseconds: 5)
                return health.refresh()
            })
        health.end(health.begin(.write))
        #expect(!health.refresh())
    }

    @Test func oneAnswerAmongManyWaitersHeals() throws {
        let health = Health(times: Self.times(silent: 20, away: 40))
        let calls = try (0..<8).map { _ in try HeldCall(health) }
        #expect(
            eventually {
                _ = health.refresh(); return health.isAway
            })
        calls[0].end()
        #expect(health.silentFor > 0)
        _ = health.refresh()
        for call in calls.dropFirst() { call.end() }
        #expect(!health.refresh())
        #expect(!health.isAway)
    }

    /// While it is away few calls go on; the others wait and are told to try later, or go on when
    /// it is back.
    @Test func fewAskWhatIsAway() throws {
        var past = HealthPast()
        past.state = .away
        past.silentSince = monotonicNanoseconds() - .seconds(60)
        let health = Health(past: past)
        for _ in 0..<Limits.callsWhileAway { #expect(try health.enterWhileAway()) }
        #expect(throws: Errno.timedOut) { _ = try health.enterWhileAway() }
        health.leave()
        #expect(try health.enterWhileAway())
        let results = Mutex<[Bool]>([])
        let waiting = try Thread(name: "waiting") {
            if let entered = try? health.enterWhileAway() {
                results.withLock { $0.append(entered) }
            }
        }
        health.end(health.begin())
        health.refresh()
        waiting.join()
        #expect(results.withLock { $0 } == [false], "it is not counted: it is not away")
    }

    /// Slow answers, and errors, are told to the administrator when they last, and that they are
    /// over.
    @Test(arguments: [Trouble.slow, .failing]) func troubleIsRaised(trouble: Trouble) {
        let events = Heard.events
        let before = events.withLock { $0.count }
        var times = HealthTimes()
        times.degradedAfter = .milliseconds(1)
        times.healedAfter = .milliseconds(1)
        var past = HealthPast()
        past.usual = [.milliseconds(1), .milliseconds(1), .milliseconds(1)]
        let health = Health(times: times, past: past)
        let isIll = eventually(within: 20) {
            for _ in 0..<4 {
                let marks = (0..<5).map { _ in health.begin(.read) }
                if trouble == .slow { sleep(milliseconds: 260) }
                for mark in marks { health.end(mark, trouble == .slow ? nil : .io) }
            }
            _ = health.refresh()
            return health.state == .degraded(trouble)
        }
        #expect(isIll)
        let text = health.text
        #expect(text.contains(trouble == .slow ? "reads take" : "Input/output error"), "\(text)")
        #expect(!health.isSilent)
        let isWell = eventually(within: 20) {
            for _ in 0..<20 { health.end(health.begin(.read)) }
            _ = health.refresh()
            return health.state == .healthy
        }
        #expect(isWell)
        #expect(health.transitions == 2)
        let heard = events.withLock { Array($0[before...]) }
        #expect(heard.contains { $0.state == .problem && text.hasSuffix($0.text) })
        #expect(heard.contains { $0.state == .recovered })
    }

    @Test func manyStuckCallsOfOneKindAreAStall() throws {
        let health = Health()
        let calls = try (0..<Limits.stalledCalls).map { _ in try HeldCall(health, .read) }
        let isStalled = eventually(within: 20) {
            health.end(health.begin())
            sleep(milliseconds: 20)
            _ = health.refresh()
            return health.isStalled
        }
        #expect(isStalled)
        #expect(!health.isSilent)
        for call in calls { call.end() }
    }
}

/// What was raised in this process.
private enum Heard {
    static let events: Shared = {
        let shared = Shared()
        Events.install { event in shared.withLock { $0.append(event) } }
        return shared
    }()

    final class Shared: Sendable {
        private let list = Mutex<[Event]>([])
        func withLock<Result>(_ body: (inout sending [Event]) -> sending Result) -> Result {
            list.withLock { body(&$0) }
        }
    }
}

/// A thread in a call on the datastore that ends when it is told to.
private final class HeldCall {
    private let isOver = Condition(false)
    private let thread: Thread

    init(_ health: Health, _ kind: CallKind = .metadata) throws {
        let isOver = isOver
        let hasBegun = Condition(false)
        thread = try Thread(name: "held") {
            let mark = health.begin(kind)
            hasBegun.update { $0 = true }
            _ = isOver.wait { $0 ? true : nil }
            health.end(mark)
        }
        _ = hasBegun.wait { $0 ? true : nil }
    }

    func end() {
        isOver.update { $0 = true }
        thread.join()
    }
}
