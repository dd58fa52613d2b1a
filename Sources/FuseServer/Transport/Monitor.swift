import DataPath
import Glibc
import Policy
import Syscalls

// The thread that looks after requests that wait, and shows the keeper that the server is alive.
extension Session {
    /// Slots whose request a reader works on at two looks in a row, and since when.
    struct Suspects {
        var since: [Int: (unique: UInt64, time: UInt64)] = [:]
    }

    /// The body of the monitor thread: returns when the mount is gone.
    func watch() {
        let context = makeContext(slots.slot(0))
        context.bind()
        defer { RequestContext.unbind() }
        WaitMode.set(mayWait: false)
        var suspects = Suspects()
        while !hasEnded {
            sleep(milliseconds: Limits.monitorInterval)
            let now = monotonicNanoseconds()
            if readersMove(&suspects, now: now) { slots.beat(at: now) }
            endWaits(now: now, context)
        }
    }

    /// Readers wait for nothing but a device, and say so. When each of them has had the same other
    /// request for a third of a second, or one for two seconds, they are stuck: then there is no
    /// sign of life any more, and the keeper replaces this server unless they move on.
    private func readersMove(_ suspects: inout Suspects, now: UInt64) -> Bool {
        var still: [Int: (unique: UInt64, time: UInt64)] = [:]
        var (stuck, isLost) = (0, false)
        for index in 0..<slots.format.large {
            let slot = slots.slot(index)
            guard slot.state == .received, slot.load(.started) == SlotStart.begun,
                !pool.contains(slot)
            else {
                continue
            }
            let unique = slot.load(.unique)
            let earlier = suspects.since[index]
            let since = earlier?.unique == unique ? (earlier?.time ?? now) : now
            still[index] = (unique, since)
            guard now > since else { continue }
            if now - since >= .milliseconds(Limits.readersPatience) { stuck += 1 }
            if now - since > 2 * Limits.patience { isLost = true }
        }
        suspects.since = still
        return !isLost && stuck < readerCount
    }

    /// Ends waits that last too long, and those whose caller has had a signal; tries others from
    /// memory while the datastore is silent.
    func endWaits(now: UInt64, _ context: RequestContext) {
        // Also while nothing waits: that is how the end of a silence is seen.
        let isSilent = datastore.datastoreIsSilent()
        if pool.isEmpty { return }
        let limit = datastore.waitLimit()
        // A request taken over while the datastore is away has not been tried by a reader.
        let patience = limit <= Limits.patience ? 0 : Limits.patience
        var tries: Set<Int> = []
        let held = pool.hold { slot, entry in
            let since = slot.load(.receivedAt)
            let age = now > since ? now - since : 0
            if slot.load(.answered) != 0 { return entry.phase == .queued }
            let operation = slot.operation
            if isSilent, !entry.tried, age >= patience, operation.mayBeAnsweredFromMemory {
                entry.tried = true
                tries.insert(slot.index)
                return true
            }
            if age >= limit { return true }
            guard age >= Limits.patience else { return false }
            if entry.interrupted, !(operation.changesNames && entry.phase == .running) {
                return true
            }
            return false
        }
        for slot in held {
            let since = slot.load(.receivedAt)
            let age = now > since ? now - since : 0
            if tries.contains(slot.index) { tryFromMemory(slot, context) }
            if age >= limit {
                if Replies.fail(slot, .timedOut, device: device) {
                    slots.count(CounterWord.timedOut)
                }
            } else if pool.isInterrupted(slot) {
                Replies.fail(slot, .interrupted, device: device)
            }
            pool.letGo(slot, wasAnswered: slot.load(.answered) != 0)
        }
    }

    private func tryFromMemory(_ slot: Slot, _ context: RequestContext) {
        let length = Int(slot.load(.length))
        context.begin(slot, length: length, isRepeat: false)
        process(context)
    }
}
