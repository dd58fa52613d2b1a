import Synchronization
import Syscalls

/// Holds back changes of names until those that a dead server had begun are through. They tell by
/// what the names stand for whether they were done, so nobody else may change these before.
final class RepeatGate: Sendable {
    private struct Pending {
        let slot: Slot
        let unique: UInt64

        /// Neither through nor told to try again.
        var isOpen: Bool {
            slot.state == .received && slot.unique == unique && slot.load(.answered) == 0
        }
    }

    private let isPassable = Atomic(true)
    private let pending = Mutex<[Pending]>([])

    /// Closes the gate until these requests are through.
    func close(until slots: [Slot]) {
        guard !slots.isEmpty else { return }
        pending.withLock { $0 = slots.map { Pending(slot: $0, unique: $0.unique) } }
        isPassable.store(false, ordering: .releasing)
    }

    /// Waits until it is open: as a rule not at all, after a takeover for as long as the datastore
    /// takes for what was under way.
    func pass() {
        while !isPassable.load(ordering: .acquiring) {
            let isThrough = pending.withLock { pending in
                pending.removeAll { !$0.isOpen }
                return pending.isEmpty
            }
            if isThrough { return isPassable.store(true, ordering: .releasing) }
            sleep(milliseconds: 1)
        }
    }
}
