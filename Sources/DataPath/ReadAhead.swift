import Passthrough
import Policy
import Syscalls

/// What is to be read ahead of sequential readers, for threads of its own: what clients wait for
/// finds the workers free, and a read-ahead is no request that an answer could be owed to.
final class ReadAhead: Sendable {
    /// Blocks of a file, at most as many as one read of the datastore takes.
    struct Order: Sendable {
        let datastore: Datastore
        let inode: Inode
        let blocks: Range<UInt64>
    }

    private struct State: Sendable {
        /// First come, first served; at most `Limits.readAheadOrders`.
        var waiting: [Order] = []
        /// The files that threads read now, once for each thread.
        var running: [NodeID] = []
        var threads = 0
        var idle = 0
        var isStopping = false
    }

    private let state = Condition(State())
    /// What the threads sleep on; may be ahead of the orders, never behind.
    private let wakeups = Wakeups()

    /// Takes an order unless too many wait. True when another thread should be started.
    func add(_ order: Order) -> Bool {
        let (isTaken, startsThread) = state.withLock { state -> (Bool, Bool) in
            guard !state.isStopping, state.waiting.count < Limits.readAheadOrders else {
                return (false, false)
            }
            state.waiting.append(order)
            guard state.idle < state.waiting.count, state.threads < Limits.readAheadThreads
            else { return (true, false) }
            state.threads += 1
            return (true, true)
        }
        if isTaken { wakeups.post() }
        return startsThread
    }

    /// A thread that `add` asked for could not be started.
    func threadIsMissing() {
        state.withLock { state in
            state.threads -= 1
            if state.threads == 0 { state.waiting = [] }
        }
    }

    /// The body of a thread: does orders with `body` until `stop`.
    func run(_ body: (Order) -> Void) {
        while let order = next() {
            body(order)
            state.update { state in
                if let index = state.running.firstIndex(of: order.inode.node) {
                    state.running.remove(at: index)
                }
            }
        }
    }

    /// The next order, waited for; nil when there will be none.
    private func next() -> Order? {
        state.withLock { $0.idle += 1 }
        while true {
            wakeups.take()
            let (order, isOver) = state.withLock { state -> (Order?, Bool) in
                guard !state.isStopping, !state.waiting.isEmpty else {
                    return (nil, state.isStopping)
                }
                let order = state.waiting.removeFirst()
                state.idle -= 1
                state.running.append(order.inode.node)
                return (order, false)
            }
            if let order { return order }
            guard isOver else { continue }
            // The next thread is to see it as well.
            wakeups.post()
            return nil
        }
    }

    /// Reads nothing more of a file that is about to be removed, and waits until none of it is
    /// being read, but not beyond the monotonic time `deadline`: an NFS client would keep it under
    /// another name.
    func leave(_ node: NodeID, until deadline: UInt64) {
        _ = state.wait(until: deadline) { (state: inout State) -> Bool? in
            state.waiting.removeAll { $0.inode.node == node }
            return state.running.contains(node) ? nil : true
        }
    }

    /// Begins nothing more, and waits until nothing is read or the monotonic time `deadline`.
    func stop(until deadline: UInt64) {
        // The files go outside of the lock: the last to let go of one may have to close it.
        let dropped = state.update { state in
            state.isStopping = true
            defer { state.waiting = [] }
            return state.waiting
        }
        withExtendedLifetime(dropped) {}
        wakeups.post()
        _ = state.wait(until: deadline) { $0.running.isEmpty ? true : nil }
    }

    /// Nothing waits and nothing is read.
    var isIdle: Bool { state.withLock { $0.waiting.isEmpty && $0.running.isEmpty } }
}
