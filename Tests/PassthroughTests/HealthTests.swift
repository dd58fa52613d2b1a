import Passthrough
import Syscalls
import TestSupport
import Testing

@Suite struct HealthTests {
    @Test func whoIsNotAskedIsHealthy() {
        let health = Health(silentAfter: .milliseconds(5), awayAfter: .milliseconds(10))
        #expect(!health.refresh())
        sleep(milliseconds: 30)
        #expect(!health.refresh())
        #expect(!health.isSilent)
        #expect(!health.isAway)
        #expect(health.silentFor == 0)
    }

    @Test func aCallWithoutAnswerLeadsToSilentAndAway() throws {
        let health = Health(silentAfter: .milliseconds(40), awayAfter: .milliseconds(120))
        let call = try HeldCall(health)
        #expect(!health.refresh())
        #expect(eventually { health.refresh() })
        #expect(health.isSilent)
        #expect(
            eventually {
                _ = health.refresh(); return health.isAway
            })
        #expect(health.silentFor > .milliseconds(120))
        call.end()
        #expect(!health.refresh())
        #expect(!health.isSilent)
        #expect(!health.isAway)
    }

    /// One file may be stuck behind a lock on the server while all others are answered.
    @Test func answersToOthersMeanThatItIsThere() throws {
        let health = Health(silentAfter: .milliseconds(300), awayAfter: .milliseconds(600))
        let call = try HeldCall(health)
        for _ in 0..<40 {
            sleep(milliseconds: 10)
            health.end(health.begin())
            #expect(!health.refresh())
        }
        #expect(!health.isSilent)
        call.end()
    }

    @Test func oneAnswerAmongManyWaitersHeals() throws {
        let health = Health(silentAfter: .milliseconds(20), awayAfter: .milliseconds(40))
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
}

/// A thread in a call on the datastore that ends when it is told to.
private final class HeldCall {
    private let isOver = Condition(false)
    private let thread: Thread

    init(_ health: Health) throws {
        let isOver = isOver
        let hasBegun = Condition(false)
        thread = try Thread(name: "held") {
            let index = health.begin()
            hasBegun.update { $0 = true }
            _ = isOver.wait { $0 ? true : nil }
            health.end(index)
        }
        _ = hasBegun.wait { $0 ? true : nil }
    }

    func end() {
        isOver.update { $0 = true }
        thread.join()
    }
}
