import Passthrough
import Synchronization
import Syscalls
import Testing

@testable import FuseServer

@Suite struct NameLocksTests {
    /// Renames in both directions between names take their locks in one order.
    @Test func nameLocksExcludeAndDoNotDeadlock() throws {
        let locks = NameLocks()
        let count = Counts()
        try withNames { one, other in
            nonisolated(unsafe) let places = [Place(NodeID(1), one), Place(NodeID(2), other)]
            let threads = try (0..<4).map { number in
                try Thread(name: "locks") {
                    for _ in 0..<2000 {
                        let first = places[number % 2]
                        let second = places[(number + 1) % 2]
                        try? locks.hold(first, second) { () throws(Errno) in count.enterAndLeave() }
                    }
                }
            }
            for thread in threads { thread.join() }
            #expect(count.most == 1)
            #expect(count.total == 8000)
        }
    }

    private func withNames(_ body: (Name, Name) throws -> Void) rethrows {
        try "one".withCString { one in
            try "other".withCString { other in try body(one, other) }
        }
    }
}

/// How many threads were in a place at once.
private final class Counts: Sendable {
    private let inside = Atomic<Int>(0)
    private let highest = Atomic<Int>(0)
    private let entries = Atomic<Int>(0)

    var most: Int { highest.load(ordering: .sequentiallyConsistent) }
    var total: Int { entries.load(ordering: .sequentiallyConsistent) }

    func enterAndLeave() {
        let now = inside.add(1, ordering: .sequentiallyConsistent).newValue
        _ = highest.max(now, ordering: .sequentiallyConsistent)
        entries.add(1, ordering: .sequentiallyConsistent)
        inside.subtract(1, ordering: .sequentiallyConsistent)
    }
}
