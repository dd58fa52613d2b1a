import Policy
import Synchronization
import Syscalls

/// Holds changes of the datastore back for a while, so that a snapshot of it can be taken.
final class ChangeGate: Sendable {
    private struct State {
        var isClosed = false
        /// Somebody is about to close it, or has.
        var isTaken = false
        var waiting = 0
    }

    private let isClosed = Atomic<Bool>(false)
    private let state = Condition(State())

    /// Takes the right to close it. Throws EBUSY when somebody has it.
    func take() throws(Errno) {
        let isTaken = state.withLock { state in
            defer { state.isTaken = true }
            return state.isTaken
        }
        if isTaken { throw .busy }
    }

    /// What asks from now on waits. Changes that were let through before may still be under way:
    /// nobody was told of them yet, so a snapshot may have them or not.
    func close() {
        state.update { state in
            state.isClosed = true
            isClosed.store(true, ordering: .releasing)
        }
    }

    /// Lets everything through, and gives the right to close it back.
    func open() {
        state.update { state in
            state.isTaken = false
            state.isClosed = false
            isClosed.store(false, ordering: .releasing)
        }
    }

    /// Waits until changes are let through, at most `limit` nanoseconds. Throws ETIMEDOUT, which
    /// tells NFS clients to try later. When half of the threads wait, the others do not wait long.
    @inline(__always)
    func pass(limit: @autoclosure () -> UInt64) throws(Errno) {
        if isClosed.load(ordering: .acquiring) { try wait(limit()) }
    }

    private func wait(_ limit: UInt64) throws(Errno) {
        let isCrowded = state.withLock { state in
            state.waiting += 1
            return state.waiting > Limits.workerThreads / 2
        }
        let limit = isCrowded ? min(limit, Limits.patience) : limit
        let isOpen: Bool? = state.wait(until: monotonicNanoseconds() + limit) { state in
            state.isClosed ? nil : true
        }
        state.withLock { $0.waiting -= 1 }
        if isOpen == nil { throw .timedOut }
    }
}
