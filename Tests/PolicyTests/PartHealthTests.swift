import Policy
import Testing

/// The state machine, with a clock of the test's own.
@Suite struct PartHealthTests {
    private static let second: UInt64 = 1_000_000_000

    /// A part that is looked at every 50 ms.
    private struct Watched {
        var part: PartHealth
        var now: UInt64 = 1000 * second
        var states: [PartState] = []

        init(_ state: PartState = .healthy) { part = PartHealth(state, at: now) }

        /// Looks for so many seconds; `evidence` gets the nanoseconds since the beginning.
        mutating func look(
            seconds: Double, _ evidence: (UInt64) -> PartEvidence = { _ in PartEvidence() }
        ) {
            let start = now
            while now < start + UInt64(seconds * 1e9) {
                now += 50_000_000
                if let transition = part.look(evidence(now - start), at: now) {
                    states.append(transition.to)
                }
            }
        }

        mutating func silence(seconds: Double) {
            look(seconds: seconds) { PartEvidence(silence: $0) }
        }

        mutating func answers(seconds: Double, _ verdict: PartEvidence.Verdict = .good) {
            look(seconds: seconds) { _ in PartEvidence(verdict: verdict) }
        }
    }

    @Test func whatIsNotUsedIsHealthy() {
        var watched = Watched()
        watched.look(seconds: 3600)
        #expect(watched.states == [])
        #expect(watched.part.state == .healthy)
        #expect(watched.part.illFor(at: watched.now) == 0)
    }

    @Test func silenceGoesFromSilentToAwayAndBackOverATrial() {
        var watched = Watched()
        watched.silence(seconds: 0.9)
        #expect(watched.states == [])
        watched.silence(seconds: 60)
        #expect(watched.states == [.degraded(.silent), .away])
        #expect(watched.part.illFor(at: watched.now) > 59 * Self.second)
        watched.states = []
        watched.answers(seconds: 1.9)
        #expect(watched.states == [.probing, .healthy], "within two seconds")
        #expect(watched.part.transitions == 4)
    }

    @Test func aShortSilenceIsOverWithTheFirstAnswer() {
        var watched = Watched()
        watched.silence(seconds: 3)
        watched.answers(seconds: 0.05)
        #expect(watched.states == [.degraded(.silent), .healthy])
    }

    /// What comes and goes is on trial for longer each time, but is never given up.
    @Test func relapsesMakeTheTrialLonger() {
        var watched = Watched()
        watched.silence(seconds: 10)
        var trials: [Double] = []
        for _ in 0..<8 {
            watched.states = []
            let start = watched.now
            while watched.part.state != .healthy { watched.answers(seconds: 0.05) }
            trials.append(Double(watched.now - start) / 1e9)
            watched.silence(seconds: 10)
            #expect(watched.states.last == .away)
            watched.answers(seconds: 0.1)
            #expect(watched.part.state == .probing)
            watched.silence(seconds: 1.1)
            #expect(watched.part.state == .away, "a relapse")
        }
        #expect(trials[0] < 1.2)
        #expect(zip(trials, trials.dropFirst()).allSatisfy { $0 <= $1 })
        #expect(trials[7] > 29 && trials[7] < 31)
        watched.answers(seconds: 120)
        #expect(watched.part.state == .healthy)
        watched.silence(seconds: 10)
        watched.answers(seconds: 1.2)
        #expect(watched.part.state == .healthy, "a long healthy time makes the trial short again")
    }

    @Test(arguments: [Trouble.slow, .failing])
    func badAnswersMustLast(trouble: Trouble) {
        var watched = Watched()
        for _ in 0..<20 {
            watched.answers(seconds: 4.8, .bad(trouble))
            watched.answers(seconds: 0.1)
        }
        #expect(watched.states == [], "bursts")
        watched.answers(seconds: 5.2, .bad(trouble))
        #expect(watched.states == [.degraded(trouble)])
        for _ in 0..<20 {
            watched.answers(seconds: 9.8)
            watched.answers(seconds: 0.1, .bad(trouble))
        }
        watched.look(seconds: 60)
        #expect(watched.states == [.degraded(trouble)], "nothing said that it is good again")
        watched.answers(seconds: 10.2)
        #expect(watched.states == [.degraded(trouble), .healthy])
    }

    @Test func whatIsStuckHasBeenSoForLong() {
        var watched = Watched()
        watched.answers(seconds: 0.1, .bad(.stalled))
        #expect(watched.states == [.degraded(.stalled)])
    }

    @Test func aSlowPartCanGoAway() {
        var watched = Watched()
        watched.answers(seconds: 6, .bad(.slow))
        watched.silence(seconds: 4.9)
        #expect(watched.states == [.degraded(.slow)])
        watched.silence(seconds: 5.2)
        #expect(watched.states == [.degraded(.slow), .away])
        watched.answers(seconds: 2)
        #expect(watched.part.state == .healthy)
    }

    @Test func successorsGoOnWhereItWas() {
        for state in [PartState.away, .probing, .degraded(.slow), .degraded(.silent)] {
            var watched = Watched(state)
            #expect(watched.part.state == state)
            watched.answers(seconds: 11)
            #expect(watched.part.state == .healthy)
        }
        var away = Watched(.away)
        away.silence(seconds: 30)
        away.look(seconds: 0.05) { _ in PartEvidence(silence: 30 * Self.second) }
        #expect(away.part.state == .away || away.states.last == .away)
    }

    @Test func probesBackOffAndNeverEnd() {
        var part = PartHealth(at: 0)
        let isNeeded = part.takeProbe(silence: 0, at: 1)
        #expect(!isNeeded)
        var probes: [UInt64] = []
        for step in 0..<20_000 as Range<UInt64> {
            let now = step * 5_000_000
            _ = part.look(PartEvidence(silence: now), at: now)
            if part.takeProbe(silence: now, at: now) { probes.append(now) }
        }
        #expect(probes[0] == 500_000_000, "before it is silent")
        let pauses = zip(probes, probes.dropFirst()).map { $1 - $0 }
        #expect(pauses.allSatisfy { $0 <= 1_005_000_000 })
        #expect(probes.count > 90)
    }

    @Test func statesHaveNumbers() {
        let states: [PartState] = [
            .healthy, .degraded(.silent), .degraded(.slow), .degraded(.failing),
            .degraded(.stalled), .away, .probing,
        ]
        for (number, state) in states.enumerated() {
            #expect(Int(state.code) == number)
            #expect(PartState(code: state.code) == state)
        }
        #expect(PartState(code: 7) == nil)
    }
}
