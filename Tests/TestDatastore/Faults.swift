import CFuse
import Glibc
import Syscalls

/// What is wrong with the datastore, and what was asked of it. Every operation passes through here
/// before it touches the folder.
final class Faults: Sendable {
    struct Failure {
        var code: Int32
        /// How many more operations fail; nil: all of them until told otherwise.
        var remaining: UInt64?
    }

    struct Settings {
        /// Microseconds that each operation takes longer.
        var latency = [UInt64](repeating: 0, count: Operation.allCases.count)
        var hung = [Bool](repeating: false, count: Operation.allCases.count)
        var failures = [Failure?](repeating: nil, count: Operation.allCases.count)
        /// Bytes per second of reads and writes together; 0: no limit.
        var bandwidth: UInt64 = 0
    }

    struct Counters {
        var calls = [UInt64](repeating: 0, count: Operation.allCases.count)
        var readBytes: UInt64 = 0
        var writtenBytes: UInt64 = 0
        /// Writes that asked to be durable before the reply (O_SYNC, O_DSYNC).
        var stableWrites: UInt64 = 0
        /// Operations that failed on purpose.
        var failed: UInt64 = 0
        /// The most operations that were under way at once.
        var mostUnderWay: UInt64 = 0
    }

    private struct State {
        var settings: Settings
        var counters = Counters()
        /// When the line is free for the next transfer, in monotonic nanoseconds.
        var lineFree: UInt64 = 0
        /// Operations that are held by `hang` now.
        var held: UInt64 = 0
        var underWay: UInt64 = 0
        var ended = false

        /// The error that the operation at this place fails with now, if it does; uses up one of
        /// a limited number of failures.
        mutating func takeFailure(_ place: Int) -> Int32? {
            guard var failure = settings.failures[place] else { return nil }
            counters.failed += 1
            if let remaining = failure.remaining {
                failure.remaining = remaining - 1
                settings.failures[place] = remaining > 1 ? failure : nil
            }
            return failure.code
        }
    }

    /// A request that `hang` holds; the flag is guarded by the lock of `state`.
    private final class Held: @unchecked Sendable {
        private let state: Condition<State>
        var interrupted = false
        init(_ state: Condition<State>) { self.state = state }
        func interrupt() { state.update { _ in interrupted = true } }
    }

    /// Writes that a cut of the power would take.
    let unflushed = UnflushedWrites()

    private enum Outcome { case released, interrupted, ended }

    private let state: Condition<State>

    init(_ settings: Settings) { state = Condition(State(settings: settings)) }

    // MARK: - For operations

    /// Counts the operation, holds it while it is hung, delays it, and throws when it is to fail.
    /// Every call is followed by one of `leave`, whether it throws or not.
    func enter(_ operation: Operation, _ request: fuse_req_t) throws(Errno) {
        let place = operation.index
        let isHung = state.withLock { state in
            state.counters.calls[place] += 1
            state.underWay += 1
            state.counters.mostUnderWay = max(state.counters.mostUnderWay, state.underWay)
            return state.settings.hung[place]
        }
        if isHung { try hold(place, request) }
        wait(nanoseconds: state.withLock { $0.settings.latency[place] } &* 1000)
        let failure = state.withLock { $0.takeFailure(place) }
        if let failure { throw Errno(failure) }
    }

    /// The operation has been replied to.
    func leave() { state.withLock { $0.underWay -= 1 } }

    /// Counts bytes that go to a client or come from one, for as long as the bandwidth makes it
    /// take. Transfers share one line, as on a network.
    func transfer(read: Int = 0, written: Int = 0, isStable: Bool = false) {
        let bytes = UInt64(read + written)
        let now = monotonicNanoseconds()
        let delay = state.withLock { state -> UInt64 in
            state.counters.readBytes += UInt64(read)
            state.counters.writtenBytes += UInt64(written)
            if isStable { state.counters.stableWrites += 1 }
            guard state.settings.bandwidth > 0 else { return 0 }
            // A transfer is at most 1 MiB and the bandwidth at least 1 KiB/s: no overflow.
            let duration = bytes * 1_000_000_000 / state.settings.bandwidth
            state.lineFree = max(now, state.lineFree) + duration
            return state.lineFree - now
        }
        wait(nanoseconds: delay)
    }

    /// Waits, but not beyond the end of the datastore.
    private func wait(nanoseconds: UInt64) {
        guard nanoseconds > 0 else { return }
        // Waking all waiters for each held request that continues is cheap here; being told of the
        // end at once is worth it.
        let deadline = monotonicNanoseconds() + nanoseconds
        _ = state.wait(until: deadline) { $0.ended ? true : nil }
    }

    /// Holds a request until `hang off`. A killed client does not wait (EINTR), as on a hard NFS
    /// mount, where the wait can be ended by a fatal signal.
    private func hold(_ place: Int, _ request: fuse_req_t) throws(Errno) {
        let held = Held(state)
        let pointer = Unmanaged.passUnretained(held)
        state.update { $0.held += 1 }
        fuse_req_interrupt_func(
            request,
            { _, data in
                guard let data else { return }
                Unmanaged<Held>.fromOpaque(data).takeUnretainedValue().interrupt()
            }, pointer.toOpaque())
        let outcome = state.wait { state -> Outcome? in
            if state.ended { return .ended }
            if held.interrupted { return .interrupted }
            return state.settings.hung[place] ? nil : .released
        }
        // From here on libfuse does not call the function any more, so `held` may go.
        fuse_req_interrupt_func(request, nil, nil)
        withExtendedLifetime(held) { state.update { $0.held -= 1 } }
        switch outcome {
        case .released, nil: return
        case .interrupted: throw .interrupted
        case .ended: throw .io
        }
    }

    // MARK: - For the control socket

    /// Changes settings; held requests look at them anew.
    func change(_ body: (inout Settings) -> Void) { state.update { body(&$0.settings) } }

    /// Sets all counters to zero.
    func resetCounters() { state.withLock { $0.counters = Counters() } }

    /// Lets go of everything that waits, for good: held requests fail with EIO.
    func end() { state.update { $0.ended = true } }

    /// One JSON object of all counters: calls by operation name, and the sums.
    func json() -> String {
        let (counters, held) = state.withLock { ($0.counters, $0.held) }
        var fields = Operation.allCases.map { ($0.rawValue, counters.calls[$0.index]) }
        fields.append(("total", counters.calls.reduce(0, +)))
        fields.append(("read_bytes", counters.readBytes))
        fields.append(("write_bytes", counters.writtenBytes))
        fields.append(("stable_writes", counters.stableWrites))
        fields.append(("failed", counters.failed))
        fields.append(("held", held))
        fields.append(("most_under_way", counters.mostUnderWay))
        return "{" + fields.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
    }
}
