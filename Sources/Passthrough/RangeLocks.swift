import Syscalls

/// Locks on byte ranges of one file, so that two writes to the same bytes reach the datastore one
/// after the other, also when the first was answered "try later" and is still under way.
package final class RangeLocks: Sendable {
    private struct Held: Sendable {
        let start: UInt64
        let end: UInt64
    }

    private let held = Condition<[Held]>([])

    package init() {}

    /// Waits until no overlapping range is held, then holds [start, end).
    package func lock(_ start: UInt64, _ end: UInt64) {
        _ = held.wait { (ranges: inout [Held]) -> Bool? in
            if ranges.contains(where: { $0.start < end && start < $0.end }) { return nil }
            ranges.append(Held(start: start, end: end))
            return true
        }
    }

    /// Holds [start, end) if no overlapping range is held. Waits for nothing.
    package func tryLock(_ start: UInt64, _ end: UInt64) -> Bool {
        held.withLock { ranges in
            if ranges.contains(where: { $0.start < end && start < $0.end }) { return false }
            ranges.append(Held(start: start, end: end))
            return true
        }
    }

    /// Lets a held range go.
    package func unlock(_ start: UInt64, _ end: UInt64) {
        held.update { ranges in
            if let index = ranges.firstIndex(where: { $0.start == start && $0.end == end }) {
                ranges.swapAt(index, ranges.count - 1)
                ranges.removeLast()
            }
        }
    }
}
