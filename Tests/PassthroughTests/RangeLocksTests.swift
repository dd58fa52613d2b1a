import Passthrough
import Synchronization
import Syscalls
import TestSupport
import Testing

@Suite struct RangeLocksTests {
    @Test func disjointRangesDoNotWait() {
        let locks = RangeLocks()
        locks.lock(0, 10)
        locks.lock(10, 20)
        locks.lock(30, .max)
        locks.unlock(0, 10)
        locks.lock(0, 10)
        locks.unlock(30, .max)
        locks.lock(20, 40)
    }

    @Test func anOverlappingRangeWaitsUntilTheOtherIsLetGo() throws {
        let overlapping: [(start: UInt64, end: UInt64)] = [
            (9, 10), (19, 25), (0, 100), (12, 13), (0, .max),
        ]
        for (start, end) in overlapping {
            let locks = RangeLocks()
            let isHeld = Flag()
            locks.lock(9, 20)
            let thread = try Thread(name: "locker") {
                locks.lock(start, end)
                isHeld.raise()
            }
            sleep(milliseconds: 20)
            #expect(!isHeld.isRaised)
            locks.unlock(9, 20)
            thread.join()
            #expect(isHeld.isRaised)
        }
    }

    @Test func writersOfOneRangeAreNeverTogether() throws {
        let locks = RangeLocks()
        let words = Occupancy()
        try concurrently(4) { number in
            var generator = SplitMix64(seed: UInt64(number))
            for _ in 0..<500 {
                // Every range has the byte 50 in it.
                let start = UInt64.random(in: 0...50, using: &generator)
                let end = UInt64.random(in: 51...100, using: &generator)
                locks.lock(start, end)
                words.enterAndLeave()
                locks.unlock(start, end)
            }
        }
        #expect(words.highest == 1)
    }
}

/// Set once, by another thread.
final class Flag: Sendable {
    private let word = Atomic<Bool>(false)
    var isRaised: Bool { word.load(ordering: .acquiring) }
    func raise() { word.store(true, ordering: .releasing) }
}

/// How many threads were in a place at once.
final class Occupancy: Sendable {
    private let inside = Atomic<Int>(0)
    private let most = Atomic<Int>(0)
    var highest: Int { most.load(ordering: .acquiring) }

    func enterAndLeave() {
        let now = inside.add(1, ordering: .sequentiallyConsistent).newValue
        _ = most.max(now, ordering: .sequentiallyConsistent)
        inside.subtract(1, ordering: .sequentiallyConsistent)
    }
}
