import Glibc
import ReadCache
import Synchronization
import Syscalls

/// Finding and reading blocks.
extension FlashTier {
    /// Where a block is; nil when the tier does not have it. Does no input or output.
    package func lookup(_ file: UInt64, block: UInt64) -> FlashAddress? {
        guard phase == .on || phase == .settling, let index = files.index(file),
            let address = map.find(index, block), slots.isCurrent(address)
        else { return nil }
        return address
    }

    /// Reads a block of 4,096 bytes into memory that is aligned to them. Waits for the device.
    /// Answers false when what the address named is gone or is damaged: a miss.
    package func read(_ address: FlashAddress, into memory: UnsafeMutableRawBufferPointer) -> Bool {
        guard memory.count == 4096, let base = memory.baseAddress else { return false }
        if address.isZero {
            memset(base, 0, 4096)
            counters.hits.count()
            return true
        }
        guard slots.isCurrent(address) else { return overtaken() }
        if !copyOpen(address.slot, to: base) {
            guard readSlot(address.slot, memory) else { return false }
        }
        // The slot may have been given to another content since the lookup.
        guard slots.isCurrent(address) else { return overtaken() }
        let fingerprint = key.fingerprint(base)
        guard slots[address.slot].stands(for: fingerprint),
            index.contains(fingerprint, slot: address.slot)
        else {
            guard slots.isCurrent(address) else { return overtaken() }
            counters.damaged.count()
            drop(address.slot)
            return false
        }
        slots.markUsed(address.slot)
        counters.hits.count()
        return true
    }

    private func readSlot(_ slot: Int, _ memory: UnsafeMutableRawBufferPointer) -> Bool {
        let start = monotonicNanoseconds()
        let entry = health.begin(start)
        defer { health.end(entry) }
        do throws(Errno) {
            try device.read(memory, at: geometry.offset(ofSlot: slot))
        } catch {
            counters.errors.count()
            if health.isFailing() { giveUp("it fails: \(error)") }
            return false
        }
        if health.isSlow(monotonicNanoseconds() &- start) { giveUp("it is slow") }
        return true
    }

    private func overtaken() -> Bool {
        counters.overtaken.count()
        return false
    }

    /// Copies a block of the open region that is not on the device yet.
    private func copyOpen(_ slot: Int, to memory: UnsafeMutableRawPointer) -> Bool {
        let (region, place) = slot.quotientAndRemainder(dividingBy: geometry.slotsPerRegion)
        return openRegion.withLock { open in
            guard open.region == region, open.isHere[place],
                let bytes = open.buffer.block(geometry.summaryBlocks + place).baseAddress
            else { return false }
            memcpy(memory, bytes, 4096)
            return true
        }
    }

    /// A slot has no content any more; addresses of it are void.
    func drop(_ slot: Int) {
        let word = slots[slot]
        guard word.isFilled else { return }
        slots[slot] = SlotWord(emptyOf: word.generation &+ 1)
        counters.filledSlots.wrappingSubtract(1, ordering: .relaxed)
    }
}
