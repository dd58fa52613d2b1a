import Synchronization
import Syscalls

/// The reads from the datastore under way, so that those who want the same block at the same time
/// wait for one read instead of making their own.
final class FillTable: Sendable {
    private struct Fill: Sendable {
        let id: UInt64
        let map: UInt32
        let start: UInt64
        let end: UInt64
    }

    private struct State: Sendable {
        var fills: [Fill] = []
        var lastID: UInt64 = 0
    }

    private let state = Condition(State())
    private let underWay = Atomic<Int>(0)

    /// Claims blocks from `block` on: at most `count`, fewer when somebody reads the later ones
    /// already. Nil when somebody reads `block` itself.
    func begin(map: UInt32, block: UInt64, count: Int) -> (id: UInt64, count: Int)? {
        state.withLock { state in
            var end = block + UInt64(count)
            for fill in state.fills where fill.map == map {
                if fill.start <= block, block < fill.end { return nil }
                if fill.start > block { end = min(end, fill.start) }
            }
            state.lastID += 1
            state.fills.append(Fill(id: state.lastID, map: map, start: block, end: end))
            underWay.store(state.fills.count, ordering: .relaxed)
            return (state.lastID, Int(end - block))
        }
    }

    /// How many reads are under way.
    var count: Int { underWay.load(ordering: .relaxed) }

    /// Ends a claim and wakes those who wait.
    func end(_ id: UInt64) {
        state.update { state in
            if let index = state.fills.firstIndex(where: { $0.id == id }) {
                state.fills.swapAt(index, state.fills.count - 1)
                state.fills.removeLast()
            }
            underWay.store(state.fills.count, ordering: .relaxed)
        }
    }

    /// Waits until nobody reads `block`.
    func wait(map: UInt32, block: UInt64) {
        _ = state.wait { (state: inout State) -> Bool? in
            let isRead = state.fills.contains { fill in
                fill.map == map && fill.start <= block && block < fill.end
            }
            return isRead ? nil : true
        }
    }
}
