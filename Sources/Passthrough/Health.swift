import CLinux
import Glibc
import Policy
import Synchronization
import Syscalls

/// What a call asks of the datastore, as far as its answer says something about it.
package enum CallKind: Int, BitwiseCopyable, Sendable, CaseIterable {
    /// Names and attributes, asked of the datastore itself.
    case metadata
    /// Reads of contents. They say how fast it is; that it answers they do not, because contents
    /// just written come from this machine's kernel.
    case read
    /// Writes that reach the datastore before they end.
    case write
    /// What this machine's kernel may answer from its own memory, and what may take any time: that
    /// it ends says nothing.
    case other
}

/// A call on the datastore that is under way.
package struct CallMark: BitwiseCopyable, Sendable {
    fileprivate let index: Int
    fileprivate let start: UInt64
    fileprivate let kind: CallKind
}

/// How the datastore is doing: by what it leaves without an answer, by how long answers take and by
/// how many of them are errors. `PartHealth` decides; this watches the calls.
package final class Health: @unchecked Sendable {
    /// For each thread, when its call began, times four plus its kind; 0 = it waits for nothing.
    private let starts: UnsafeMutableBufferPointer<Atomic<UInt64>>
    /// `LatencyCounts` of the three kinds that say something.
    private let latencies: UnsafeMutableBufferPointer<Atomic<UInt64>>
    private let calls = Atomic<UInt64>(0)
    private let failures = Atomic<UInt64>(0)
    private let lastFailure = Atomic<Int32>(0)
    private let lastAnswer = Atomic<UInt64>(0)
    /// When the first call began that ended without an answer since the last answer; 0 = none.
    private let unansweredSince: Atomic<UInt64>
    /// Answers to calls that began earlier are not judged: they waited while it was away.
    private let judgedFrom = Atomic<UInt64>(0)

    private let silence = Atomic<UInt64>(0)
    private let silentFrom = Atomic<UInt64>(0)
    private let isAwayNow: Atomic<Bool>
    /// The code of the state.
    private let stateNow: Atomic<UInt8>
    private let whileAway = Condition(0)
    private let judgement: Mutex<HealthJudgement>

    private static let threads = 256

    /// Without arguments a new datastore's; tests wait for shorter times. `past` is what an earlier
    /// server's health left in its record.
    package init(times: HealthTimes = HealthTimes(), past: HealthPast = HealthPast()) {
        starts = .allocate(capacity: Self.threads)
        for index in starts.indices { starts.initializeElement(at: index, to: Atomic(0)) }
        latencies = .allocate(capacity: 3 * LatencyCounts.count)
        for index in latencies.indices { latencies.initializeElement(at: index, to: Atomic(0)) }
        unansweredSince = Atomic(past.silentSince)
        isAwayNow = Atomic(past.state == .away)
        stateNow = Atomic(past.state.code)
        judgement = Mutex(HealthJudgement(times: times, past: past, at: monotonicNanoseconds()))
        refresh()
    }

    deinit {
        starts.deallocate()
        latencies.deallocate()
    }

    // MARK: - Calls

    /// Marks the beginning of a call on the datastore by this thread; each has one `end`.
    @inline(__always)
    package func begin(_ kind: CallKind = .metadata) -> CallMark {
        let index = Int(CLinux_thread_index() & UInt32(Self.threads - 1))
        let now = monotonicNanoseconds()
        starts[index].store(now << 2 | UInt64(kind.rawValue), ordering: .relaxed)
        return CallMark(index: index, start: now, kind: kind)
    }

    /// Marks the end of a call, and how it failed.
    @inline(__always)
    package func end(_ mark: CallMark, _ error: Errno? = nil) {
        starts[mark.index].store(0, ordering: .relaxed)
        if let error { return failed(mark, error) }
        if mark.kind == .other { return }
        let now = monotonicNanoseconds()
        if mark.kind != .read { answered(at: now) }
        guard mark.start >= judgedFrom.load(ordering: .relaxed) else { return }
        let bucket = LatencyCounts.bucket(of: now > mark.start ? now - mark.start : 0)
        latencies[mark.kind.rawValue * LatencyCounts.count + bucket]
            .wrappingAdd(1, ordering: .relaxed)
        calls.wrappingAdd(1, ordering: .relaxed)
    }

    private func answered(at now: UInt64) {
        lastAnswer.store(now, ordering: .relaxed)
        if unansweredSince.load(ordering: .relaxed) != 0 {
            unansweredSince.store(0, ordering: .relaxed)
        }
    }

    /// Only errors of the datastore itself say something: others may be this machine's kernel's.
    @inline(never)
    private func failed(_ mark: CallMark, _ error: Errno) {
        guard error.isFailure else { return }
        if error.meansNoAnswer {
            _ = unansweredSince.compareExchange(
                expected: 0, desired: mark.start, ordering: .relaxed)
        } else {
            answered(at: monotonicNanoseconds())
        }
        lastFailure.store(error.code, ordering: .relaxed)
        calls.wrappingAdd(1, ordering: .relaxed)
        failures.wrappingAdd(1, ordering: .relaxed)
    }

    /// Before a call while the datastore is away: lets few of them go on and holds the others for a
    /// second. Throws ETIMEDOUT when it is still away then. Whoever calls, calls `leave` later if
    /// the answer is true.
    package func enterWhileAway() throws(Errno) -> Bool {
        let deadline = monotonicNanoseconds() + Limits.patience
        let isCounted = whileAway.wait(until: deadline) { count -> Bool? in
            if !isAway { return false }
            guard count < Limits.callsWhileAway else { return nil }
            count += 1
            return true
        }
        guard let isCounted else { throw .timedOut }
        return isCounted
    }

    /// Ends what `enterWhileAway` began.
    package func leave() { whileAway.update { $0 -= 1 } }

    // MARK: - Looking

    /// Looks at the calls under way and at the answers; to be called a few times a second. Answers
    /// whether the datastore is silent.
    @discardableResult
    package func refresh() -> Bool {
        let now = monotonicNanoseconds()
        let (oldest, stuck) = underWay(at: now)
        let since = max(oldest, lastAnswer.load(ordering: .relaxed))
        let quiet = oldest < now && now > since ? now - since : 0
        silence.store(quiet, ordering: .relaxed)
        let seen = HealthJudgement.Seen(
            silence: quiet, stuck: stuck, calls: calls.load(ordering: .relaxed),
            failures: failures.load(ordering: .relaxed),
            lastFailure: Errno(lastFailure.load(ordering: .relaxed)))
        // Whoever else looks at this moment sees the same.
        let news = judgement.withLockIfAvailable { judgement in
            let news = judgement.look(seen, at: now) { latencyCounts(of: $0) }
            silentFrom.store(judgement.isSilent ? since : 0, ordering: .relaxed)
            if news != nil { take(over: judgement.state, at: now) }
            return news
        }
        if let news, let news { news.tell() }
        return isSilent
    }

    /// When the oldest call began that waits for an answer, `now` when none does; and how many of
    /// one kind have waited for long.
    private func underWay(at now: UInt64) -> (oldest: UInt64, stuck: Int) {
        let unanswered = unansweredSince.load(ordering: .relaxed)
        var oldest = unanswered > 0 ? min(unanswered, now) : now
        var stuck = [0, 0, 0, 0]
        for index in starts.indices {
            let word = starts[index].load(ordering: .relaxed)
            guard word != 0 else { continue }
            let start = word >> 2
            oldest = min(oldest, start)
            if now > start, now - start > Limits.awayAfter { stuck[Int(word & 3)] += 1 }
        }
        return (oldest, max(stuck[CallKind.read.rawValue], stuck[CallKind.write.rawValue]))
    }

    private func latencyCounts(of kind: CallKind) -> LatencyCounts {
        var counts = LatencyCounts()
        for index in counts.buckets.indices {
            counts.buckets[index] = latencies[kind.rawValue * LatencyCounts.count + index]
                .load(ordering: .relaxed)
        }
        return counts
    }

    private func take(over state: PartState, at now: UInt64) {
        if state == .away || state == .probing { judgedFrom.store(now, ordering: .relaxed) }
        stateNow.store(state.code, ordering: .relaxed)
        isAwayNow.store(state == .away, ordering: .relaxed)
        if state != .away { whileAway.update { _ in } }
    }

    // MARK: - What it says

    /// True when nothing has been answered for more than a second while something waits.
    package var isSilent: Bool { silentFrom.load(ordering: .relaxed) != 0 }

    /// True when that has lasted for long.
    package var isAway: Bool { isAwayNow.load(ordering: .relaxed) }

    /// True when its answers take unusually long.
    package var isSlow: Bool { state == .degraded(.slow) }

    /// True when calls of one kind are stuck.
    package var isStalled: Bool { state == .degraded(.stalled) }

    /// What it is now.
    package var state: PartState {
        PartState(code: stateNow.load(ordering: .relaxed)) ?? .healthy
    }

    /// Nanoseconds since the last answer, when a call waits.
    package var silentFor: UInt64 { silence.load(ordering: .relaxed) }

    /// `healthy`, or `degraded: …`, `away: …` with the reason.
    package var text: String {
        judgement.withLock { $0.text(at: monotonicNanoseconds()) }
    }

    /// Changes of state since the mount.
    package var transitions: UInt64 { judgement.withLock { $0.transitions } }

    /// What the next server must know.
    package var past: HealthPast {
        var past = judgement.withLock { $0.past }
        past.silentSince = silentFrom.load(ordering: .relaxed)
        return past
    }

    /// True when the datastore should be asked something cheap now, on a thread that may wait.
    package func takeProbe() -> Bool {
        let now = monotonicNanoseconds()
        return judgement.withLock { $0.takeProbe(silence: silentFor, at: now) }
    }
}

extension Errno {
    /// Errors that say that the datastore could not be asked: what is behind them is unknown, as
    /// behind a call that waits.
    package var meansNoAnswer: Bool {
        switch code {
        case ETIMEDOUT, ENOTCONN, ESHUTDOWN, ECONNABORTED, ECONNRESET, ECONNREFUSED, EHOSTDOWN,
            EHOSTUNREACH, ENETDOWN, ENETUNREACH:
            true
        default: false
        }
    }

    /// Errors of the datastore itself, and not of what was asked.
    fileprivate var isFailure: Bool {
        switch code {
        case EIO, ENXIO, ENODEV, EREMOTEIO: true
        default: meansNoAnswer
        }
    }
}
