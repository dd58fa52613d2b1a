import CFuse
import DataPath
import Glibc
import Policy
import Synchronization
import Syscalls

// Threads that read requests from the kernel. Half of them at least never wait for flash or the
// datastore: what needs them moves to another slot and to the worker pool, so that what is cached
// is served whatever they do.
extension Session {
    /// The body of a reader thread: returns when the mount is gone or this server hands over.
    func readRequests() {
        guard var slot = slots.take(.large, until: .max) else { return }
        let context = makeContext(slot)
        context.bind()
        defer { RequestContext.unbind() }
        WaitMode.set(mayWait: false)
        while true {
            if isLeaving.load(ordering: .relaxed) { return slots.release(slot) }
            slot.beginReading()
            let length = Glibc.read(device, slot.request, slot.capacity)
            if length < 0 {
                guard mayReadOn(after: Errno.last) else { break }
                continue
            }
            guard length >= MemoryLayout<fuse_in_header>.size,
                Int(slot.header.pointee.len) == length
            else {
                if length == 0 { break }
                SystemLog.error("a request of \(length) bytes says it has another length")
                continue
            }
            slot.received(length: length)
            slot = dispatch(slot, length: length, context)
        }
        slots.release(slot)
        end()
    }

    private func mayReadOn(after error: Errno) -> Bool {
        switch error.code {
        // ENOENT: the request ended while it was read.
        case EINTR, EAGAIN, ENOENT: return true
        case ENODEV, ECONNABORTED: return false
        default:
            SystemLog.error("reading a request: \(error)")
            sleep(milliseconds: Limits.slotWait)
            return !hasEnded
        }
    }

    /// Does a request or gives it to the workers. Answers the slot to read the next one into.
    @inline(__always)
    private func dispatch(_ slot: Slot, length: Int, _ context: RequestContext) -> Slot {
        let operation = slot.operation
        if operation.rawValue < UInt32(CounterWord.opcodeCount) {
            slots.count(CounterWord.opcodes + Int(operation.rawValue))
        }
        if operation.isSpecial { return special(slot, operation) }
        if let mode = operation.neededMode(hasLog: datastore.hasLog) {
            if operation == .fsync, mode == .flash {
                // The kernel sends one behind each stable write, and the log has that already.
                context.begin(slot, length: length, isRepeat: false)
                process(context)
                if context.neededMode == nil { return finished(slot, context) }
            }
            return waiting(slot, operation, length: length, context, mode)
        }
        context.begin(slot, length: length, isRepeat: false)
        process(context)
        if let mode = context.neededMode {
            return waiting(slot, operation, length: length, context, mode)
        }
        return finished(slot, context)
    }

    /// Does a request that has to wait, or gives it to the workers. Answers the slot to read the
    /// next request into.
    private func waiting(
        _ slot: Slot, _ operation: OperationCode, length: Int, _ context: RequestContext,
        _ mode: WaitMode
    ) -> Slot {
        let isShort =
            switch operation {
            case .write, .fsync: mode == .flash || isLocal
            case .read: mode == .datastore && isLocal
            default: false
            }
        if isShort, let next = doHere(slot, length: length, context, mode) { return next }
        return park(slot, length: length, for: mode)
    }

    /// The request is done. Answers its slot, to read the next one into.
    @inline(__always)
    private func finished(_ slot: Slot, _ context: RequestContext) -> Slot {
        conclude(context)
        slot.enter(.free)
        return slot
    }

    /// Lets some of the readers wait for the log or for a local datastore themselves: a hand-over
    /// to another thread takes as long as a fast device. Nil when enough of them do, so that others
    /// go on reading requests whatever the device does. Answers the slot to read the next request
    /// into.
    private func doHere(
        _ slot: Slot, length: Int, _ context: RequestContext, _ mode: WaitMode
    ) -> Slot? {
        let busy = busyReaders.add(1, ordering: .relaxed).newValue
        defer { busyReaders.subtract(1, ordering: .relaxed) }
        guard busy <= Limits.busyReaders else { return nil }
        slot.store(.started, SlotStart.mayTakeLong)
        context.begin(slot, length: length, isRepeat: false)
        WaitMode.set(mode)
        process(context)
        WaitMode.set(.memory)
        if let mode = context.neededMode { return park(slot, length: length, for: mode) }
        return finished(slot, context)
    }

    /// After an operation: a request that nobody answered by mistake must not hang for ever.
    @inline(__always)
    func conclude(_ context: RequestContext) {
        if context.isAnswered || OperationCode(context.opcode).hasNoReply { return }
        if Replies.fail(context.slot, .timedOut, device: device) {
            slots.count(CounterWord.dropped)
            SystemLog.error("an operation with opcode \(context.opcode) gave no answer")
        }
    }

    /// INTERRUPT and DESTROY do not reach libfuse.
    @inline(never)
    private func special(_ slot: Slot, _ operation: OperationCode) -> Slot {
        if operation == .interrupt {
            let argument = (slot.request + MemoryLayout<fuse_in_header>.size)
                .assumingMemoryBound(to: fuse_interrupt_in.self)
            let unique = argument.pointee.unique
            if !pool.interrupt(unique: unique), !isWithReader(unique) {
                // It may be on its way to the workers: the kernel asks again.
                Replies.fail(slot, Errno(EAGAIN), device: device)
            }
        } else {
            Replies.fail(slot, Errno(0), device: device)
        }
        slot.enter(.free)
        return slot
    }

    /// A reader waits for a device with this request: nothing ends that, and a kernel that is told
    /// to ask again would do so all the time.
    private func isWithReader(_ unique: UInt64) -> Bool {
        (0..<slots.format.large).contains { index in
            let slot = slots.slot(index)
            return slot.state == .received && slot.load(.started) == SlotStart.mayTakeLong
                && slot.unique == unique
        }
    }

    // MARK: - Parking

    /// Gives a request to the workers, in a slot of its size. Answers the slot to read the next
    /// request into, which is this one again when the request was copied.
    @inline(never)
    private func park(_ slot: Slot, length: Int, for mode: WaitMode) -> Slot {
        slot.store(.receivedAt, monotonicNanoseconds())
        slot.store(.started, 0)
        if length <= SlotFormat.smallCapacity, let other = slots.take(.small) {
            return move(slot, to: other, length: length, for: mode)
        }
        // A large slot is handed over as it is while there are many: that saves the copy.
        let spare = slots.freeCount(.large) > slots.format.large / 2
        if spare, let next = slots.take(.large) { return hand(slot, over: next, for: mode) }
        if length <= SlotFormat.mediumCapacity, let other = slots.take(.medium) {
            return move(slot, to: other, length: length, for: mode)
        }
        if let next = slots.take(.large) { return hand(slot, over: next, for: mode) }
        if let next = waitForSlot() { return hand(slot, over: next, for: mode) }
        if Replies.fail(slot, .timedOut, device: device) { slots.count(CounterWord.timedOut) }
        slot.enter(.free)
        return slot
    }

    private func move(_ slot: Slot, to other: Slot, length: Int, for mode: WaitMode) -> Slot {
        other.adopt(slot, length: length)
        slot.enter(.free)
        submit(other, for: mode)
        return slot
    }

    private func hand(_ slot: Slot, over next: Slot, for mode: WaitMode) -> Slot {
        submit(slot, for: mode)
        return next
    }

    /// All slots are taken. With a datastore that answers one is free soon, and a local writer
    /// would take "try later" for an error: so up to all readers but one wait for a while, and
    /// the last one for a moment. With a silent datastore nobody waits.
    private func waitForSlot() -> Slot? {
        if datastore.datastoreIsSilent() { return nil }
        let waiting = waitingReaders.withLock { count in
            count += 1
            return count
        }
        defer { waitingReaders.withLock { $0 -= 1 } }
        let isLast = waiting >= Limits.readerThreads
        let wait: UInt64 = isLast ? .milliseconds(Limits.slotWait) : Limits.patience
        return slots.take(.large, until: monotonicNanoseconds() + wait)
    }

    // MARK: - Workers

    /// Queues the request of a slot for a thread that may wait for flash or for the datastore.
    func submit(_ slot: Slot, for mode: WaitMode) {
        if pool.add(slot, for: mode) { startWorker(mode) }
    }

    private func startWorker(_ mode: WaitMode) {
        do throws(Errno) {
            let name = mode == .flash ? "flash" : "worker"
            try Thread(name: name) { [self] in work(mode) }.detach()
        } catch {
            pool.threadIsMissing(mode)
            SystemLog.warning("no further thread for requests: \(error)")
        }
    }

    /// The body of a worker thread.
    private func work(_ mode: WaitMode) {
        let context = makeContext(slots.slot(0))
        context.bind()
        defer { RequestContext.unbind() }
        WaitMode.set(mode)
        while let slot = pool.next(mode) {
            if run(slot, context) {
                pool.finish(slot)
            } else if pool.passOn(slot) {
                startWorker(.datastore)
            }
        }
    }

    /// Does a request. False when it needs the datastore and this thread may not wait for that.
    private func run(_ slot: Slot, _ context: RequestContext) -> Bool {
        // Answered while it was queued: its caller has been told to try again.
        if slot.load(.answered) != 0 { return true }
        let length = Int(slot.load(.length))
        context.begin(slot, length: length, isRepeat: slot.load(.deaths) > 0)
        slot.store(.started, 1)
        process(context)
        if context.neededMode != nil, !WaitMode.mayWait {
            slot.store(.started, 0)
            return false
        }
        conclude(context)
        return true
    }
}
