import Policy
import Syscalls

/// What a server's health leaves to its successor.
package struct HealthPast: Equatable, Sendable {
    package var state = PartState.healthy
    /// Monotonic time since when the datastore has answered nothing, 0 when it answers.
    package var silentSince: UInt64 = 0
    /// Monotonic time of when it was healthy last, 0 when it is.
    package var illSince: UInt64 = 0
    /// Changes of state since the mount.
    package var transitions: UInt64 = 0
    /// What metadata operations, reads and writes usually take, nanoseconds.
    package var usual: [3 of UInt64] = [0, 0, 0]

    package init() {}

    package static func == (one: Self, other: Self) -> Bool {
        one.state == other.state && one.silentSince == other.silentSince
            && one.illSince == other.illSince && one.transitions == other.transitions
            && (0..<3).allSatisfy { one.usual[$0] == other.usual[$0] }
    }
}

/// What the datastore's health is judged by: windows of answers, until there are enough to tell.
struct HealthJudgement: Sendable {
    /// What a look finds.
    struct Seen {
        var silence: UInt64 = 0
        /// Calls of one kind that have waited for long.
        var stuck = 0
        /// Calls that ended, and those with an error of the datastore itself, since the start.
        var calls: UInt64 = 0
        var failures: UInt64 = 0
        var lastFailure = Errno(0)
    }

    /// A change that somebody should hear of.
    struct News {
        let transition: PartHealth.Transition
        let text: String
    }

    /// Answers of one kind since its last verdict.
    private struct Window {
        let kind: CallKind
        var judge: LatencyJudge
        var before = LatencyCounts()
        var since: UInt64
        /// The median of the last verdict, nanoseconds.
        var median: UInt64 = 0
        var isSlow = false
    }

    private var part: PartHealth
    private var windows: [Window]
    private var nextVerdict: UInt64 = 0
    private var callsBefore: UInt64 = 0
    private var failuresBefore: UInt64 = 0
    private var failuresSince: UInt64
    private var seen = Seen()
    /// The last window with many errors.
    private var failing = (failures: UInt64(0), calls: UInt64(0), error: Errno(0))
    private let silentAfter: UInt64

    init(times: HealthTimes, past: HealthPast, at now: UInt64) {
        part = PartHealth(
            past.state, illSince: past.illSince, transitions: past.transitions, times: times,
            at: now)
        let bounds = [Limits.slowMetadata, Limits.slowRead, Limits.slowWrite]
        windows = [CallKind.metadata, .read, .write].map { kind in
            Window(
                kind: kind,
                judge: LatencyJudge(
                    bound: bounds[kind.rawValue], usual: past.usual[kind.rawValue]),
                since: now)
        }
        failuresSince = now
        silentAfter = times.silentAfter
    }

    var state: PartState { part.state }
    var transitions: UInt64 { part.transitions }
    var isSilent: Bool { seen.silence >= silentAfter }

    var past: HealthPast {
        var past = HealthPast()
        past.state = part.state
        past.illSince = part.illTime
        past.transitions = part.transitions
        for window in windows { past.usual[window.kind.rawValue] = window.judge.usual }
        return past
    }

    mutating func takeProbe(silence: UInt64, at now: UInt64) -> Bool {
        part.takeProbe(silence: silence, at: now)
    }

    /// Takes in what a look found; `counts` answers how long the calls of a kind took so far.
    mutating func look(
        _ seen: Seen, at now: UInt64, _ counts: (CallKind) -> LatencyCounts
    ) -> News? {
        self.seen = seen
        var verdict: PartEvidence.Verdict?
        if now >= nextVerdict {
            nextVerdict = now + Limits.judgedWindow
            verdict = judge(at: now, counts)
        }
        let evidence = PartEvidence(silence: seen.silence, verdict: verdict)
        return part.look(evidence, at: now).map { News(transition: $0, text: text(at: now)) }
    }

    /// Bad when anything is.
    private mutating func judge(
        at now: UInt64, _ counts: (CallKind) -> LatencyCounts
    ) -> PartEvidence.Verdict? {
        var verdicts = [judgeFailures(at: now)]
        for index in windows.indices {
            verdicts.append(judge(&windows[index], counts(windows[index].kind), at: now))
        }
        if seen.stuck >= Limits.stalledCalls { return .bad(.stalled) }
        let bad = verdicts.first { verdict in
            if case .bad = verdict { return true }
            return false
        }
        return bad ?? (verdicts.contains(.good) ? .good : nil)
    }

    private mutating func judgeFailures(at now: UInt64) -> PartEvidence.Verdict? {
        let calls = seen.calls - callsBefore
        let failures = seen.failures - failuresBefore
        let isLate = now - failuresSince >= Limits.longestJudgedWindow
        guard calls >= Limits.judgedAnswers || isLate else { return nil }
        (callsBefore, failuresBefore, failuresSince) = (seen.calls, seen.failures, now)
        guard failures >= Limits.failedCalls, failures * 10 >= calls else {
            return calls > failures ? .good : nil
        }
        failing = (failures, calls, seen.lastFailure)
        return .bad(.failing)
    }

    private func judge(
        _ window: inout Window, _ counts: LatencyCounts, at now: UInt64
    ) -> PartEvidence.Verdict? {
        var news = LatencyCounts()
        for index in news.buckets.indices {
            news.buckets[index] = counts.buckets[index] &- window.before.buckets[index]
        }
        let total = news.total
        let isLate = now - window.since >= Limits.longestJudgedWindow
        guard total >= Limits.judgedAnswers || isLate else { return nil }
        (window.before, window.since) = (counts, now)
        guard total > 0 else {
            window.isSlow = false
            return nil
        }
        window.median = news.median
        if total < Limits.judgedAnswers / 4 {
            var other = window.judge
            return other.isSlow(median: window.median) ? nil : .good
        }
        window.isSlow = window.judge.isSlow(median: window.median)
        return window.isSlow ? .bad(.slow) : .good
    }

    // MARK: - In words

    /// `healthy`, or `degraded: …`, `away: …` with the reason and its numbers.
    func text(at now: UInt64) -> String {
        let waited = seen.silence / .seconds(1)
        switch part.state {
        case .healthy: return "healthy"
        case .away: return "away: the datastore has not answered for \(waited) s"
        case .probing:
            let ill = part.illFor(at: now) / .seconds(1)
            return "degraded: the datastore answers again, \(ill) s after it stopped"
        case .degraded(.silent): return "degraded: the datastore has not answered for \(waited) s"
        case .degraded(.slow): return "degraded: the datastore is slow: \(slowText)"
        case .degraded(.failing):
            return "degraded: \(failing.failures) of \(failing.calls) calls on the datastore "
                + "failed: \(failing.error)"
        case .degraded(.stalled):
            return "degraded: some calls on the datastore have waited for more than "
                + "\(Limits.awayAfter / .seconds(1)) s while others are answered"
        }
    }

    private var slowText: String {
        let names = ["operations on names", "reads", "writes"]
        let slow = windows.filter(\.isSlow).map { window in
            "\(names[window.kind.rawValue]) take \(Self.milliseconds(window.median)) ms, usually "
                + "\(Self.milliseconds(window.judge.usual)) ms"
        }
        return slow.isEmpty ? "less so now" : slow.joined(separator: "; ")
    }

    private static func milliseconds(_ nanoseconds: UInt64) -> UInt64 {
        (nanoseconds + 500_000) / 1_000_000
    }
}

extension HealthJudgement.News {
    /// Tells the log, and the administrator what they should hear of: not each pause of a second,
    /// and not each relapse of what is away.
    func tell() {
        switch (transition.from, transition.to) {
        case (_, .degraded(.silent)), (.probing, .away), (.away, .probing):
            SystemLog.warning(text)
        case (.degraded(.silent), .healthy):
            SystemLog.notice("the datastore answers again")
        case (_, .away):
            let advice = "cached data is served, everything else is told to try later"
            Events.raise(.datastore, .problem, "\(plain): \(advice)")
        case (_, .healthy):
            let duration = "\(transition.lasted / .seconds(1)) s"
            Events.raise(
                .datastore, .recovered, "the datastore is healthy again after \(duration)")
        default:
            Events.raise(.datastore, .problem, plain)
        }
    }

    /// The text without the word for the state.
    private var plain: String {
        text.split(separator: ": ", maxSplits: 1).last.map(String.init) ?? text
    }
}
