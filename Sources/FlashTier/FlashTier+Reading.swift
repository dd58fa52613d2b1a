import Devices
import Glibc
import Policy
import ReadCache
import Synchronization
import Syscalls

/// Finding and reading blocks.
extension FlashTier {
    /// How many blocks of a run, from its first on, the tier has; where they are is filled in, as
    /// far as there is room. Does no input or output.
    package func lookup(
        _ file: UInt64, firstBlock: UInt64, into addresses: UnsafeMutableBufferPointer<FlashAddress>
    ) -> Int {
        guard isServing, let index = files.believed(file) else { return 0 }
        let found = map.find(index, firstBlock, into: addresses)
        return addresses[..<found].firstIndex { !slots.isCurrent($0) } ?? found
    }

    /// The slot that a block is stored in; nil when the tier does not have the block, or it is all
    /// zero and takes none. For counting: blocks with the same content have the same slot.
    package func slot(_ file: UInt64, block: UInt64) -> Int? {
        guard isServing, let index = files.believed(file), let address = map.find(index, block),
            !address.isZero, slots.isCurrent(address)
        else { return nil }
        return address.slot
    }

    /// Blocks of a file that are stored and not all zero, without looking at them: those whose
    /// contents made room a short while ago may count still.
    package func blocks(of file: UInt64) -> UInt64 {
        guard isServing, let index = files.believed(file) else { return 0 }
        return UInt64(map.stored(index))
    }

    /// The same of all files together, but those that were dropped.
    package var storedBlocks: UInt64 {
        guard isServing else { return 0 }
        return UInt64(max(0, files.dead.reduce(map.allStored) { $0 - map.stored($1) }))
    }

    /// Reads blocks that follow one another, 4,096 bytes each, into memory that is aligned to them;
    /// blocks that lie side by side on the device at once, up to 1 MiB. Waits for the device.
    /// Answers how many of them, from the first on, are good; the next one is gone or is damaged.
    package func read(
        _ addresses: UnsafeBufferPointer<FlashAddress>, into memory: UnsafeMutableRawPointer
    ) -> Int {
        var done = 0
        while done < addresses.count {
            let good = readGroup(addresses, from: done, memory + done * 4096)
            if good == 0 { break }
            done += good
        }
        counters.hits.count(UInt64(done))
        return done
    }

    /// Reads what can be read at once: answers how many blocks are good, at least one unless the
    /// first is not.
    private func readGroup(
        _ addresses: UnsafeBufferPointer<FlashAddress>, from first: Int,
        _ memory: UnsafeMutableRawPointer
    ) -> Int {
        let address = addresses[first]
        if address.isZero {
            memset(memory, 0, 4096)
            return 1
        }
        guard slots.isCurrent(address) else { return overtaken() }
        let most = min(addresses.count - first, Limits.requestSize / 4096)
        var count = 1
        while count < most,
            geometry.isNext(addresses[first + count], to: addresses[first + count - 1])
        { count += 1 }
        let (copied, closed) = copyOpen(address.slot..<address.slot + count, to: memory)
        if copied > 0 { return verified(addresses[first..<first + copied], memory) }
        if readSlots(address.slot, closed, memory) {
            return verified(addresses[first..<first + closed], memory)
        }
        // One bad block must not cost the others: they are read one by one, once.
        for index in 0..<closed {
            let address = addresses[first + index]
            guard isServing else { return index }
            guard readSlots(address.slot, 1, memory + index * 4096) else {
                counters.errors.count()
                if health.isFailing() { giveUp("it does not read") }
                drop(address)
                return index
            }
            if verified(addresses[first + index...first + index], memory + index * 4096) == 0 {
                return index
            }
        }
        return closed
    }

    /// How many blocks, from the first on, have the content that their slot is to have.
    private func verified(
        _ addresses: Slice<UnsafeBufferPointer<FlashAddress>>, _ memory: UnsafeMutableRawPointer
    ) -> Int {
        var good = 0
        for address in addresses {
            guard isContent(of: address, memory + good * 4096) else { break }
            good += 1
        }
        return good
    }

    private func isContent(of address: FlashAddress, _ bytes: UnsafeRawPointer) -> Bool {
        let fingerprint = key.fingerprint(bytes)
        let isRight =
            slots[address.slot].stands(for: fingerprint)
            && index.contains(fingerprint, slot: address.slot)
        // The slot may have been given to another content since the lookup.
        guard slots.isCurrent(address) else {
            _ = overtaken()
            return false
        }
        guard isRight else {
            counters.damaged.count()
            drop(address)
            return false
        }
        slots.markUsed(address.slot)
        return true
    }

    /// Reads slots in a row. Answers false when the device did not.
    private func readSlots(_ slot: Int, _ count: Int, _ memory: UnsafeMutableRawPointer) -> Bool {
        let start = monotonicNanoseconds()
        let entry = health.begin(start)
        defer { health.end(entry) }
        do throws(Errno) {
            try device.read(
                UnsafeMutableRawBufferPointer(start: memory, count: count * 4096),
                at: geometry.offset(ofSlot: slot))
        } catch {
            return false
        }
        if health.isSlow(monotonicNanoseconds() &- start) { giveUp("it is slow") }
        return true
    }

    private func overtaken() -> Int {
        counters.overtaken.count()
        return 0
    }

    /// Copies the leading slots of a region that are in memory only. Where the first is not,
    /// answers how many leading ones are on the device.
    private func copyOpen(
        _ slots: Range<Int>, to memory: UnsafeMutableRawPointer
    ) -> (copied: Int, closed: Int) {
        let (region, first) = slots.lowerBound.quotientAndRemainder(
            dividingBy: geometry.slotsPerRegion)
        return openRegion.withLock { open in
            guard open.region == region else { return (0, slots.count) }
            let places = first..<first + slots.count
            let isHere = open.isHere[first]
            let count =
                (places.firstIndex { open.isHere[$0] != isHere } ?? places.upperBound) - first
            guard isHere else { return (0, count) }
            if let bytes = open.buffer.blocks(geometry.summaryBlocks + first, count).baseAddress {
                memcpy(memory, bytes, count * 4096)
            }
            return (count, 0)
        }
    }

    /// What an address names is bad: nothing points at it any more.
    private func drop(_ address: FlashAddress) {
        if slots.empty(address.slot, of: address.generation) {
            counters.filledSlots.wrappingSubtract(1, ordering: .relaxed)
        }
    }

    /// A slot has no content any more; addresses of it are void.
    func empty(_ slot: Int) {
        if slots.empty(slot, of: nil) {
            counters.filledSlots.wrappingSubtract(1, ordering: .relaxed)
        }
    }

    /// Whether a slot, which has content, has exactly these bytes. Reads it.
    func holds(_ address: FlashAddress, _ bytes: UnsafeRawPointer, _ buffer: BlockBuffer) -> Bool {
        guard let stored = buffer.bytes.baseAddress else { return false }
        return withUnsafePointer(to: address) { address in
            readGroup(UnsafeBufferPointer(start: address, count: 1), from: 0, stored) == 1
                && memcmp(stored, bytes, 4096) == 0
        }
    }
}
