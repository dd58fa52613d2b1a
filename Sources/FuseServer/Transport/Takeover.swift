import CFuse
import Glibc
import Syscalls

// What a new server does with the requests that an earlier one left behind, before it reads any.
extension Session {
    /// Goes through all slots: sends kept replies again, ends what killed two servers, frees the
    /// rest. Answers the slots whose request is to be done; they belong to the caller.
    func takeOver(after predecessor: Predecessor) -> [Slot] {
        let all = (0..<slots.format.count).map { slots.slot($0) }
        var isKept = Array(repeating: false, count: all.count)
        // A request that was being moved when the server died lies in two slots. One with a reply
        // counts before one without.
        var seen: Set<UInt64> = []
        for slot in all where slot.state == .applied {
            seen.insert(slot.unique)
            if let reply = slot.storedReply {
                Replies.sendAgain(reply, device: device)
            } else {
                slot.store(.answered, 0)
                Replies.fail(slot, .timedOut, device: device)
            }
        }
        FailPoint.resent.reach(0)
        for slot in all {
            guard let length = repeatableLength(slot) else { continue }
            guard seen.insert(slot.unique).inserted else { continue }
            prepare(slot, length: length, after: predecessor)
            isKept[slot.index] = true
        }
        for slot in poison(among: all.filter { isKept[$0.index] }) {
            end(poison: slot)
            isKept[slot.index] = false
        }
        slots.releaseFirst(all.filter { !isKept[$0.index] })
        let left = all.filter { isKept[$0.index] }.map { compact($0) }
        repeats.close(
            until: left.filter { $0.operation.changesNames && !$0.preimage.isEmpty })
        FailPoint.readied.reach(0)
        if !left.isEmpty { SystemLog.notice("\(left.count) requests of the last server go on") }
        return left
    }

    /// The length of a request that is to be done again; nil for a slot without one.
    private func repeatableLength(_ slot: Slot) -> Int? {
        guard slot.state == .reading || slot.state == .received else { return nil }
        let header = slot.header.pointee
        guard header.len >= UInt32(MemoryLayout<fuse_in_header>.size),
            Int(header.len) <= slot.capacity
        else { return nil }
        switch OperationCode(header.opcode) {
        case .initialize:
            Replies.sendAgain(
                UnsafeMutableRawBufferPointer(
                    start: slots.initReply, count: slots.initReplyLength), device: device)
            return nil
        // Forgetting is a hint; the kernel asks again for an interrupt that matters.
        case .forget, .batchForget, .interrupt: return nil
        default: return Int(header.len)
        }
    }

    /// Brings a slot into the form that the workers expect, and counts the death.
    private func prepare(_ slot: Slot, length: Int, after predecessor: Predecessor) {
        if slot.load(.receivedAt) == 0 || slot.state == .reading || slot.load(.started) != 0 {
            slot.store(.receivedAt, monotonicNanoseconds())
        }
        if slot.load(.started) != 0 {
            slot.store(.deaths, slot.load(.deaths) &+ 1)
            if predecessor == .trap { slot.store(.traps, slot.load(.traps) &+ 1) }
        }
        slot.store(.started, 0)
        slot.store(.answered, 0)
        slot.received(length: length)
    }

    /// A request in progress at two deaths by trap is taken for their cause: it ends with EIO,
    /// because a third death would help nobody. When several were, most are innocent: the keeper
    /// starts this server without the cache then, and only what it dies of too is the cause.
    private func poison(among slots: [Slot]) -> [Slot] {
        let suspects = slots.filter { $0.load(.traps) >= 2 }
        return suspects.count == 1 ? suspects : suspects.filter { $0.load(.traps) >= 3 }
    }

    private func end(poison slot: Slot) {
        let operation = slot.operation
        let name = operation.name ?? "opcode \(operation.rawValue)"
        Events.raise(
            .server, .problem,
            "\(slot.load(.traps)) servers died while they did a \(name) of node "
                + "\(slot.header.pointee.nodeid): it is answered with an error")
        slots.count(CounterWord.poisoned)
        Replies.fail(slot, .io, device: device)
    }

    /// Moves a small request out of a slot that readers need.
    private func compact(_ slot: Slot) -> Slot {
        let length = Int(slot.load(.length))
        guard slots.format.slotClass(of: slot.index) == .large else { return slot }
        let size: SlotClass
        if length <= SlotFormat.smallCapacity {
            size = .small
        } else if length <= SlotFormat.mediumCapacity {
            size = .medium
        } else {
            return keep(slot)
        }
        guard let other = slots.take(size) else { return keep(slot) }
        other.adopt(slot, length: length)
        slots.release(keep(slot))
        return other
    }

    /// Requests are read into the slot later.
    private func keep(_ slot: Slot) -> Slot {
        slots.populate(slot)
        return slot
    }
}
