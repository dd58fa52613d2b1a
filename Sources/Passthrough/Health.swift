import CLinux
import Synchronization
import Syscalls

/// How the datastore is doing, judged by how long it leaves calls without an answer.
///
/// `healthy` → `silent` when a call waits for more than a second and none ended meanwhile →
/// `away` when that lasts; back to `healthy` with the first answer.
package final class Health: @unchecked Sendable {
    /// Without any answer for this long, what is in memory is answered from memory.
    private let silentAfter: UInt64
    /// Without any answer for this long, requests that wait are told to try later after a second.
    private let awayAfter: UInt64

    /// When the call of each thread began; 0 = it waits for nothing.
    private let starts: UnsafeMutableBufferPointer<Atomic<UInt64>>
    private let lastAnswer = Atomic<UInt64>(0)
    private let silence = Atomic<UInt64>(0)
    private let silentFrom = Atomic<UInt64>(0)
    private let isAwayNow = Atomic<Bool>(false)
    /// Since when a predecessor had waited for an answer; counts until the first one here.
    private let inheritedSilence: UInt64

    /// Without arguments the product's own bounds; tests wait for shorter ones.
    /// `silentSince` is what a predecessor saw: since when it had waited for an answer, else 0.
    package init(
        silentAfter: UInt64 = .seconds(1), awayAfter: UInt64 = .seconds(5), silentSince: UInt64 = 0
    ) {
        self.silentAfter = silentAfter
        inheritedSilence = silentSince
        self.awayAfter = awayAfter
        starts = .allocate(capacity: 256)
        for index in 0..<256 { starts.initializeElement(at: index, to: Atomic(0)) }
        refresh()
    }

    deinit { starts.deallocate() }

    /// Marks the beginning of a call on the datastore by this thread; answers where to mark its
    /// end.
    @inline(__always)
    package func begin() -> Int {
        let index = Int(CLinux_thread_index() & 255)
        starts[index].store(monotonicNanoseconds(), ordering: .relaxed)
        return index
    }

    /// Marks the end of a call.
    @inline(__always)
    package func end(_ index: Int) {
        starts[index].store(0, ordering: .relaxed)
        lastAnswer.store(monotonicNanoseconds(), ordering: .relaxed)
    }

    /// Looks at the calls under way; to be called a few times a second. Answers whether the
    /// datastore is silent.
    @discardableResult
    package func refresh() -> Bool {
        let now = monotonicNanoseconds()
        var oldest =
            inheritedSilence > 0 && lastAnswer.load(ordering: .relaxed) == 0
            ? min(inheritedSilence, now) : now
        for index in 0..<256 {
            let start = starts[index].load(ordering: .relaxed)
            if start != 0, start < oldest { oldest = start }
        }
        let since = max(oldest, lastAnswer.load(ordering: .relaxed))
        let quiet = oldest < now && now > since ? now - since : 0
        silence.store(quiet, ordering: .relaxed)
        silentFrom.store(quiet > silentAfter ? since : 0, ordering: .relaxed)
        let isAway = quiet > awayAfter
        if isAway != isAwayNow.exchange(isAway, ordering: .relaxed) {
            if isAway {
                SystemLog.error(
                    "the datastore has not answered for \(quiet / 1_000_000_000) s: cached data "
                        + "is served, everything else is told to try later")
            } else {
                SystemLog.notice("the datastore answers again")
            }
        }
        return quiet > silentAfter
    }

    /// True when no call has been answered for more than a second while one waits.
    package var isSilent: Bool { silence.load(ordering: .relaxed) > silentAfter }

    /// True when that has lasted for long.
    package var isAway: Bool { isAwayNow.load(ordering: .relaxed) }

    /// Monotonic time since when nothing has been answered; 0 unless it is silent.
    package var silentSince: UInt64 { silentFrom.load(ordering: .relaxed) }

    /// Nanoseconds since the last answer, when a call waits.
    package var silentFor: UInt64 { silence.load(ordering: .relaxed) }
}
