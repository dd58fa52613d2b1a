import Policy
import Synchronization

/// Slows writers down while the log fills, so that they never have to stop: the delay grows as in
/// the write throttle of OpenZFS (dmu_tx_delay(), "zfs_delay_scale"),
///
///     delay = time that the destager takes for as many bytes · (used - from) / (capacity - used)
///
/// so that writers are as fast as the destager when the log is half way between `from` and full.
/// Writers queue: the delays of all of them are one after the other, however many they are.
package final class Throttle: Sendable {
    private struct State {
        /// Bytes per second that the destager frees.
        var rate = Limits.assumedDestageRate
        /// The time to which writes have been put off, nanoseconds.
        var busyUntil: UInt64 = 0
    }

    private let state = Mutex(State())
    private let from: Atomic<UInt64>
    private let capacity: UInt64

    /// Writers are delayed when more than `from` bytes of a log of `capacity` are in use.
    package init(from: UInt64, capacity: UInt64) {
        self.from = Atomic(from)
        self.capacity = capacity
    }

    /// Bytes in use from which writers are delayed.
    package var limit: UInt64 { from.load(ordering: .relaxed) }

    /// Another `dirty_max`.
    package func setLimit(_ bytes: UInt64) { from.store(bytes, ordering: .relaxed) }

    /// Whether writers are delayed at all. Takes no lock.
    package func isSlowing(used: UInt64) -> Bool { used > limit }

    /// Nanoseconds that a write of so many bytes has to wait before it begins. Takes no lock while
    /// there is room.
    package func delay(bytes: UInt64, used: UInt64, now: UInt64) -> UInt64 {
        let from = min(from.load(ordering: .relaxed), capacity)
        guard used > from else { return 0 }
        return state.withLock { state in
            let over = Double(used - from)
            let left = Double(max(capacity, used + 1) - used)
            let cost = Double(bytes) / Double(max(1, state.rate)) * 1e9 * over / left
            let longest = Double(Limits.longestDelay)
            let until = max(state.busyUntil, now) + UInt64(min(cost, longest))
            state.busyUntil = min(until, now + Limits.longestDelay)
            return state.busyUntil - now
        }
    }

    /// The destager has freed so many bytes of the log in so many nanoseconds.
    package func freed(bytes: UInt64, nanoseconds: UInt64) {
        guard bytes > 0 else { return }
        let rate = Double(bytes) / Double(max(1, nanoseconds)) * 1e9
        state.withLock { state in
            // A large sample says more than a small one.
            let weight = min(0.5, Double(bytes) / Double(Limits.rateSample))
            let mean = Double(state.rate) * (1 - weight) + rate * weight
            state.rate = UInt64(max(Double(Limits.lowestDestageRate), min(mean, 1e12)))
        }
    }

    /// Bytes per second that the destager frees, as measured.
    package var rate: UInt64 { state.withLock { $0.rate } }
}
