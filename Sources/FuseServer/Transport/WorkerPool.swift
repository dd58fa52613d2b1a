import Glibc
import Policy
import Syscalls

/// Requests that wait for flash or for the datastore, and the threads that do them. Each of the two
/// has a queue and threads of its own, so that one of them may hang without the other. The queues
/// cannot overflow: each has a place for every slot.
final class WorkerPool: Sendable {
    /// What a slot's request is doing in here.
    enum Phase: UInt8, Sendable {
        case absent
        case queued
        case running
    }

    struct Entry: Sendable {
        var phase = Phase.absent
        /// What its thread may wait for.
        var mode = WaitMode.datastore
        /// The monitor has tried the request from memory.
        var tried = false
        /// Its caller has had a signal.
        var interrupted = false
        /// The monitor uses the slot: it must not be freed.
        var isHeld = false
        /// The worker is through; the monitor frees the slot.
        var isDone = false
    }

    private struct State: Sendable {
        var flash: WorkerQueue
        var datastore: WorkerQueue
        var isStopping = false
        /// Nothing is begun any more: what is queued is for the next server.
        var isClosed = false
        var entries: [Entry]

        var running: Int { flash.running + datastore.running }
        var isEmpty: Bool { running == 0 && flash.count == 0 && datastore.count == 0 }

        /// The queue of requests that may wait for this.
        subscript(mode: WaitMode) -> WorkerQueue {
            _read {
                if mode == .flash { yield flash } else { yield datastore }
            }
            _modify {
                if mode == .flash { yield &flash } else { yield &datastore }
            }
        }

        /// Queues a slot's request. True when another thread should be started for it.
        mutating func queue(_ index: Int, for mode: WaitMode) -> Bool {
            entries[index].phase = .queued
            entries[index].mode = mode
            self[mode].push(index)
            return !isClosed && self[mode].startsThread()
        }
    }

    let slots: RequestSlots
    /// Not a `Mutex`, whose futex is handed from waiter to waiter, with a change of threads each
    /// time: with more threads than processors that made writes five times slower.
    private let state: Condition<State>
    /// What the threads sleep on; may be ahead of the queues, never behind.
    private let flashWakeups = Wakeups()
    private let datastoreWakeups = Wakeups()

    /// `flashThreads` and `threads` are the most that do requests that wait for flash and for the
    /// datastore.
    init(slots: RequestSlots, flashThreads: Int, threads: Int) {
        self.slots = slots
        let count = slots.format.count
        state = Condition(
            State(
                flash: WorkerQueue(places: count, limit: flashThreads),
                datastore: WorkerQueue(places: count, limit: threads),
                entries: Array(repeating: Entry(), count: count)))
    }

    private func wakeups(_ mode: WaitMode) -> Wakeups {
        mode == .flash ? flashWakeups : datastoreWakeups
    }

    /// Queues the request of a slot, which is the pool's from now on, for a thread that may wait
    /// for flash or for the datastore. True when another such thread should be started for it.
    func add(_ slot: Slot, for mode: WaitMode) -> Bool {
        let startsThread = state.withLock { state in
            state.entries[slot.index] = Entry()
            return state.queue(slot.index, for: mode)
        }
        wakeups(mode).post()
        return startsThread
    }

    /// A thread that `add` or `passOn` asked for could not be started.
    func threadIsMissing(_ mode: WaitMode) { state.withLock { $0[mode].threads -= 1 } }

    /// The next request that may wait for this, waited for; nil when the pool stops.
    func next(_ mode: WaitMode) -> Slot? {
        state.withLock { $0[mode].idle += 1 }
        while true {
            wakeups(mode).take()
            let (index, isOver) = state.withLock { state -> (Int?, Bool) in
                if state.isClosed { return (nil, true) }
                guard let index = state[mode].begin() else { return (nil, state.isStopping) }
                state.entries[index].phase = .running
                return (index, false)
            }
            if let index { return slots.slot(index) }
            guard isOver else { continue }
            // The next thread is to see it as well.
            wakeups(mode).post()
            return nil
        }
    }

    /// A worker is through with a request: its slot is free unless the monitor uses it.
    func finish(_ slot: Slot) {
        let isFree = state.withLock { state in
            state[state.entries[slot.index].mode].running -= 1
            if state.entries[slot.index].isHeld {
                state.entries[slot.index].isDone = true
                return false
            }
            state.entries[slot.index] = Entry()
            return true
        }
        if isFree { slots.release(slot) }
    }

    /// A request on a thread that may wait for flash needs the datastore: it is queued for that.
    /// True when another thread should be started for it.
    func passOn(_ slot: Slot) -> Bool {
        let startsThread = state.withLock { state in
            state[state.entries[slot.index].mode].running -= 1
            return state.queue(slot.index, for: .datastore)
        }
        datastoreWakeups.post()
        return startsThread
    }

    /// Notes that the caller of a request had a signal. False when no such request waits here.
    func interrupt(unique: UInt64) -> Bool {
        state.withLock { state in
            for index in state.entries.indices where state.entries[index].phase != .absent {
                if slots.slot(index).unique == unique {
                    state.entries[index].interrupted = true
                    return true
                }
            }
            return false
        }
    }

    // MARK: - For the monitor

    /// True while nothing waits and nothing runs.
    var isEmpty: Bool { state.withLock { $0.isEmpty } }

    /// The request of a slot waits or runs here.
    func contains(_ slot: Slot) -> Bool {
        state.withLock { $0.entries[slot.index].phase != .absent }
    }

    /// The caller of a slot's request has had a signal.
    func isInterrupted(_ slot: Slot) -> Bool {
        state.withLock { $0.entries[slot.index].interrupted }
    }

    /// Slots whose request is in here and for which `choose` says so. They are held: each must be
    /// given back with `letGo`.
    func hold(where choose: (Slot, inout Entry) -> Bool) -> [Slot] {
        state.withLock { state in
            guard !state.isEmpty else { return [] }
            var chosen: [Slot] = []
            for index in state.entries.indices where state.entries[index].phase != .absent {
                let slot = slots.slot(index)
                guard choose(slot, &state.entries[index]) else { continue }
                state.entries[index].isHeld = true
                chosen.append(slot)
            }
            return chosen
        }
    }

    /// Ends the hold. A request that was answered meanwhile leaves the queue if it was not begun.
    func letGo(_ slot: Slot, wasAnswered: Bool) {
        let isFree = state.withLock { state in
            let entry = state.entries[slot.index]
            state.entries[slot.index].isHeld = false
            let isQueued = wasAnswered && entry.phase == .queued
            guard entry.isDone || isQueued else { return false }
            if isQueued { state[entry.mode].remove(slot.index) }
            state.entries[slot.index] = Entry()
            return true
        }
        if isFree { slots.release(slot) }
    }

    // MARK: - The end

    /// Lets the threads end once the queues are empty.
    func stop() { end { $0.isStopping = true } }

    /// Begins nothing more, whatever is queued.
    func close() { end { $0.isClosed = true } }

    private func end(_ change: (inout State) -> Void) {
        state.withLock { change(&$0) }
        flashWakeups.post()
        datastoreWakeups.post()
    }

    /// Waits until no thread works on a request; false when the monotonic time `deadline` passes
    /// first.
    func becomesIdle(until deadline: UInt64) -> Bool {
        while state.withLock({ $0.running > 0 }) {
            if monotonicNanoseconds() >= deadline { return false }
            sleep(milliseconds: 1)
        }
        return true
    }

    /// Waits until nothing runs; false when the monotonic time `deadline` passes first.
    func drain(until deadline: UInt64) -> Bool {
        while !isEmpty {
            if monotonicNanoseconds() >= deadline { return false }
            sleep(milliseconds: 2)
        }
        return true
    }
}
