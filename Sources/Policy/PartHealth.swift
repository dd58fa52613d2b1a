/// What is wrong with a part that is still used.
package enum Trouble: Equatable, Sendable {
    /// Something waits, and nothing has been answered for a moment.
    case silent
    /// Answers take long, all of a kind and not single ones.
    case slow
    /// Many calls end with an error.
    case failing
    /// Calls of one kind are stuck while others are answered.
    case stalled
}

/// How a part of the service is doing.
package enum PartState: Equatable, Sendable {
    case healthy
    case degraded(Trouble)
    /// It does not answer: nothing but probes should depend on it.
    case away
    /// It answers again, and is used again, on trial.
    case probing
}

extension PartState {
    private static let coded: [PartState] = [
        .healthy, .degraded(.silent), .degraded(.slow), .degraded(.failing), .degraded(.stalled),
        .away, .probing,
    ]

    /// A number that a record can keep.
    package var code: UInt8 { UInt8(Self.coded.firstIndex(of: self) ?? 0) }

    /// The state of a number; nil for one that none has.
    package init?(code: UInt8) {
        guard Int(code) < Self.coded.count else { return nil }
        self = Self.coded[Int(code)]
    }
}

/// What was seen of a part since the last look.
package struct PartEvidence: Sendable {
    /// Nanoseconds for which nothing has been answered although something waits; 0 when something
    /// was, or when nothing was asked.
    package var silence: UInt64 = 0
    /// What its answers say, `silent` not among them; nil when there were too few to tell.
    package var verdict: Verdict?

    package enum Verdict: Equatable, Sendable {
        case good
        case bad(Trouble)
    }

    package init(silence: UInt64 = 0, verdict: Verdict? = nil) {
        self.silence = silence
        self.verdict = verdict
    }
}

/// Times of a part's health, in nanoseconds.
package struct HealthTimes: Sendable {
    /// Without an answer for so long it is degraded, `silent`.
    package var silentAfter = Limits.silentAfter
    /// Without an answer for so long it is away.
    package var awayAfter = Limits.awayAfter
    /// Bad answers for so long make it degraded.
    package var degradedAfter = Limits.degradedAfter
    /// Good answers for so long make it healthy again.
    package var healedAfter = Limits.healedAfter
    /// After it was away it is on trial for so long; after each relapse twice as long.
    package var trial = Limits.healthTrial
    package var longestTrial = Limits.longestHealthTrial

    package init() {}
}

/// The state machine of a part that can be slow, fail or go away: the datastore, a cache device, a
/// log. Time is passed in, so it does nothing by itself.
///
///     healthy ──bad answers──▶ degraded ──good answers for a while──▶ healthy
///        └────────no answer────▶ away ──an answer──▶ probing ──trial passed──▶ healthy
///                                  ◀──no answer again──┘
///
/// A part is never out for good: while it is not healthy it is probed, with back-off.
package struct PartHealth: Sendable {
    /// A change of state.
    package struct Transition: Equatable, Sendable {
        package let from: PartState
        package let to: PartState
        /// Nanoseconds since it was healthy, 0 when it was until now.
        package let lasted: UInt64
    }

    package private(set) var state: PartState
    /// Changes of state so far.
    package private(set) var transitions: UInt64

    private let times: HealthTimes
    private var since: UInt64
    /// When it was healthy last; counts while it is not.
    private var illSince: UInt64
    private var badSince: UInt64?
    private var lastBad: UInt64 = 0
    private var lastGood: UInt64 = 0
    private var trial: UInt64
    private var nextProbe: UInt64 = 0
    private var probePause = Limits.probePause

    /// A part in `state` since the time `now`, as its predecessor left it.
    package init(
        _ state: PartState = .healthy, illSince: UInt64 = 0, transitions: UInt64 = 0,
        times: HealthTimes = HealthTimes(), at now: UInt64
    ) {
        self.state = state
        self.times = times
        self.transitions = transitions
        since = now
        self.illSince = illSince > 0 ? min(illSince, now) : now
        trial = times.trial
    }

    /// When it was healthy last; 0 when it is.
    package var illTime: UInt64 { state == .healthy ? 0 : illSince }

    /// Nanoseconds since it was healthy last.
    package func illFor(at now: UInt64) -> UInt64 {
        state == .healthy || now < illSince ? 0 : now - illSince
    }

    /// Takes in what was seen, a few times a second. Answers what changed, if anything did.
    package mutating func look(_ evidence: PartEvidence, at now: UInt64) -> Transition? {
        note(evidence.verdict, at: now)
        guard let next = next(evidence, at: now), next != state else { return nil }
        let before = state
        if before == .healthy {
            illSince = now - min(now, evidence.silence)
            (probePause, nextProbe) = (Limits.probePause, now)
        }
        let lasted = illFor(at: now)
        if next == .healthy { badSince = nil }
        if before == .probing, next == .away { trial = min(2 * trial, times.longestTrial) }
        state = next
        since = now
        transitions &+= 1
        return Transition(from: before, to: next, lasted: lasted)
    }

    private mutating func note(_ verdict: PartEvidence.Verdict?, at now: UInt64) {
        switch verdict {
        case nil: break
        case .good:
            lastGood = now
            if state == .healthy { badSince = nil }
        case .bad:
            lastBad = now
            if badSince == nil { badSince = now }
        }
    }

    private mutating func next(_ evidence: PartEvidence, at now: UInt64) -> PartState? {
        let isSilent = evidence.silence >= times.silentAfter
        if evidence.silence >= times.awayAfter { return .away }
        switch state {
        case .healthy:
            // A long time without a relapse makes the next trial a short one again.
            if now - since >= 2 * times.longestTrial { trial = times.trial }
            if isSilent { return .degraded(.silent) }
            return trouble(evidence.verdict, at: now)
        case .degraded(.silent):
            return isSilent ? nil : .healthy
        case .degraded:
            let isHealed = lastGood > lastBad && now - lastBad >= times.healedAfter
            return isHealed && !isSilent ? .healthy : nil
        case .away:
            return isSilent ? nil : .probing
        case .probing:
            if isSilent { return .away }
            let isAnswering = evidence.silence < times.silentAfter / 2
            return isAnswering && now - since >= trial ? .healthy : nil
        }
    }

    private func trouble(_ verdict: PartEvidence.Verdict?, at now: UInt64) -> PartState? {
        guard case .bad(let trouble) = verdict, let badSince else { return nil }
        // What is stuck has been so for long.
        let isLasting = trouble == .stalled || now - badSince >= times.degradedAfter
        return isLasting ? .degraded(trouble) : nil
    }

    /// True when somebody should ask the part something cheap now: it is not healthy, or something
    /// has waited for a moment (`silence`, nanoseconds). Each time the next is later.
    package mutating func takeProbe(silence: UInt64, at now: UInt64) -> Bool {
        guard state != .healthy || silence >= Limits.probeAfter else { return false }
        guard now >= nextProbe else { return false }
        nextProbe = now + probePause
        probePause = min(2 * probePause, Limits.longestProbePause)
        return true
    }
}
