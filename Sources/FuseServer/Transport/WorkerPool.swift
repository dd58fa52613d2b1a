import Glibc
import Policy
import Syscalls

/// Requests that wait for the datastore, and the threads that do them. The queue cannot overflow:
/// it has a place for every slot.
final class WorkerPool: Sendable {
    /// What a slot's request is doing in here.
    enum Phase: UInt8, Sendable {
        case absent
        case queued
        case running
    }

    struct Entry: Sendable {
        var phase = Phase.absent
        /// The monitor has tried the request from memory.
        var tried = false
        /// Its caller has had a signal.
        var interrupted = false
        /// The monitor uses the slot: it must not be freed.
        var isHeld = false
        /// The worker is through; the monitor frees the slot.
        var isDone = false
    }

    struct State: Sendable {
        var queue: [Int]
        var head = 0
        var queued = 0
        var running = 0
        var idle = 0
        var threads = 0
        var isStopping = false
        /// Nothing is begun any more: what is queued is for the next server.
        var isClosed = false
        var entries: [Entry]

        mutating func push(_ index: Int) {
            queue[(head + queued) % queue.count] = index
            queued += 1
        }

        mutating func pop() -> Int? {
            guard queued > 0 else { return nil }
            let index = queue[head]
            head = (head + 1) % queue.count
            queued -= 1
            return index
        }

        /// Takes one request out of the middle of the queue.
        mutating func remove(_ index: Int) {
            let count = queued
            for _ in 0..<count {
                if let other = pop(), other != index { push(other) }
            }
        }
    }

    let slots: RequestSlots
    private let limit: Int
    private let state: Condition<State>

    init(slots: RequestSlots, limit: Int) {
        self.slots = slots
        self.limit = limit
        let count = slots.format.count
        state = Condition(
            State(
                queue: Array(repeating: 0, count: count),
                entries: Array(repeating: Entry(), count: count)))
    }

    /// Queues the request of a slot, which is the pool's from now on. True when another thread
    /// should be started for it.
    func add(_ slot: Slot) -> Bool {
        state.updateWakingOne { state in
            state.entries[slot.index] = Entry(phase: .queued)
            state.push(slot.index)
            guard state.idle < state.queued, state.threads < limit, !state.isClosed else {
                return false
            }
            state.threads += 1
            return true
        }
    }

    /// A thread that `add` asked for could not be started.
    func threadIsMissing() { state.withLock { $0.threads -= 1 } }

    /// The next request to do, waited for; nil when the pool stops.
    func next() -> Slot? {
        state.withLock { $0.idle += 1 }
        let index = state.wait { state -> Int?? in
            if state.isClosed { return .some(nil) }
            if let index = state.pop() {
                state.idle -= 1
                state.running += 1
                state.entries[index].phase = .running
                return .some(index)
            }
            return state.isStopping ? .some(nil) : nil
        }
        guard let index, let index else { return nil }
        return slots.slot(index)
    }

    /// A worker is through with a request: its slot is free unless the monitor uses it.
    func finish(_ slot: Slot) {
        let isFree = state.withLock { state in
            state.running -= 1
            if state.entries[slot.index].isHeld {
                state.entries[slot.index].isDone = true
                return false
            }
            state.entries[slot.index] = Entry()
            return true
        }
        if isFree { slots.release(slot) }
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
    var isEmpty: Bool { state.withLock { $0.queued == 0 && $0.running == 0 } }

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
            guard state.queued > 0 || state.running > 0 else { return [] }
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
            state.entries[slot.index].isHeld = false
            if state.entries[slot.index].isDone {
                state.entries[slot.index] = Entry()
                return true
            }
            if wasAnswered, state.entries[slot.index].phase == .queued {
                state.remove(slot.index)
                state.entries[slot.index] = Entry()
                return true
            }
            return false
        }
        if isFree { slots.release(slot) }
    }

    // MARK: - The end

    /// Lets the threads end once the queue is empty.
    func stop() { state.update { $0.isStopping = true } }

    /// Begins nothing more, whatever is queued.
    func close() { state.update { $0.isClosed = true } }

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
