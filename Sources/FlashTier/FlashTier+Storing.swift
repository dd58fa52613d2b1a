import Devices
import Glibc
import Policy
import ReadCache
import Synchronization
import Syscalls

/// What became of an offer.
package enum FlashOffer: Sendable {
    /// The content is stored now.
    case stored
    /// The content was there; the block is found too now.
    case shared
    /// Not stored: nobody has used it twice.
    case passedOver
    /// Not stored: the write budget is used up.
    case throttled
    /// Not stored: the block was written since the ticket, or the tier takes nothing now.
    case refused
}

/// Taking contents in.
extension FlashTier {
    /// What an offer remembers from before its block was read from the datastore; nil while the
    /// block is being written.
    package func ticket(_ file: UInt64, block: UInt64) -> UInt64? { versions.sample(file, block) }

    /// Offers the content of a block: 4,096 bytes that do not change meanwhile. `sample`:
    /// attributes of the file, should it have no map yet. `isReused`: whether the block was used
    /// more than once. Waits for the device. A file whose map is not believed takes nothing.
    package func offer(
        _ file: UInt64, block: UInt64, ticket: UInt64, _ bytes: UnsafeRawPointer, isReused: Bool,
        sample: FileSample
    ) -> FlashOffer {
        guard phase == .on, block < FlashMap.blockLimit else { return .refused }
        let isZero =
            bytes.loadUnaligned(as: UInt64.self) == 0 && memcmp(bytes, bytes + 8, 4088) == 0
        let fingerprint = isZero ? Fingerprint() : key.fingerprint(bytes)
        let isReused = isReused || isKept(file)
        return filling.withLock { filling in
            guard phase == .on, versions.sample(file, block) == ticket else { return .refused }
            var outcome = FlashOffer.shared
            var address = isZero ? FlashAddress.zero : find(fingerprint, bytes)
            if address == nil {
                outcome = admit(fingerprint, isReused, &filling)
                guard case .stored = outcome else { return outcome }
                address = store(fingerprint, bytes, &filling)
            }
            guard let address, enter(file, block, address, ticket, sample, &filling) else {
                return .refused
            }
            if case .stored = outcome { counters.stored.count() } else { counters.shared.count() }
            return outcome
        }
    }

    /// Enters a block in the map. The log is told at once when the content is durable, otherwise
    /// with its region.
    private func enter(
        _ file: UInt64, _ block: UInt64, _ address: FlashAddress, _ ticket: UInt64,
        _ sample: FileSample, _ filling: inout Filling
    ) -> Bool {
        guard let number = files.number(file, sample) else { return false }
        guard
            map.set(number, block, address, { versions.sample(file, block) == ticket })
        else { return false }
        if !address.isZero, isKept(file) { kept.withLock { $0.add([address.slot]) } }
        filling.entries.append((file, number, block, address))
        if filling.entries.count >= Limits.flashEntries { tellLog(&filling, all: false) }
        return true
    }

    // MARK: - Sharing

    /// The slot that has exactly these bytes.
    private func find(_ fingerprint: Fingerprint, _ bytes: UnsafeRawPointer) -> FlashAddress? {
        let candidates = index.candidates(fingerprint, slots)
        if candidates.isEmpty { return nil }
        let buffer = BlockBuffer(blocks: 1)
        for slot in candidates {
            let word = slots[slot]
            let address = FlashAddress(slot: slot, generation: word.generation)
            if word.isFilled, holds(address, bytes, buffer) { return address }
        }
        return nil
    }

    // MARK: - Admission

    private func admit(
        _ fingerprint: Fingerprint, _ isReused: Bool, _ filling: inout Filling
    ) -> FlashOffer {
        // As long as there is room that was never used, everything is welcome.
        if !isFirstFill {
            guard isReused || filling.ghosts.sawBefore(fingerprint) else {
                counters.passedOver.count()
                return .passedOver
            }
            guard budget.withLock({ $0.allows(now: clock()) }) else {
                counters.throttled.count()
                return .throttled
            }
        }
        guard !filling.free.isEmpty || nextRegion(&filling) else { return .refused }
        return .stored
    }

    // MARK: - Regions

    private func store(
        _ fingerprint: Fingerprint, _ bytes: UnsafeRawPointer, _ filling: inout Filling
    ) -> FlashAddress? {
        guard let place = filling.free.popLast() else { return nil }
        let slot = filling.region * geometry.slotsPerRegion + place
        let generation = slots[slot].generation
        openRegion.withLock { open in
            open.buffer.block(geometry.summaryBlocks + place).copyMemory(
                from: UnsafeRawBufferPointer(start: bytes, count: 4096))
            open.isHere[place] = true
        }
        filling.summary.slots[place] = .init(content: fingerprint, generation: generation)
        filling.new.append(place)
        enter(fingerprint, slot: slot, generation: generation)
        return FlashAddress(slot: slot, generation: generation)
    }

    /// Writes the open region and opens the next one with room. Answers false when the device
    /// failed; then the tier is off.
    private func nextRegion(_ filling: inout Filling) -> Bool {
        for _ in 0..<geometry.regionCount {
            do throws(Errno) {
                try writeRegion(&filling)
                try reclaim(filling.hand, &filling)
            } catch {
                giveUp("it fails: \(error)")
                return false
            }
            if !filling.free.isEmpty { return true }
        }
        return false
    }

    /// Makes the contents of the open region durable, then its summary, then tells the log.
    func writeRegion(_ filling: inout Filling) throws(Errno) {
        guard filling.region >= 0 else { return }
        if !filling.new.isEmpty {
            try writeContents(filling.new, region: filling.region)
            filling.sequence += 1
            let pages = BlockBuffer(blocks: geometry.summaryBlocks)
            let offset = geometry.regionOffset(filling.region)
            filling.summary.encode(
                into: pages, offset: offset, pages: geometry.summaryBlocks,
                sequence: filling.sequence, key: pageKey)
            try device.write(UnsafeRawBufferPointer(pages.bytes), at: offset)
            try device.flush()
            counters.writtenBytes.count(
                UInt64(filling.new.count + geometry.summaryBlocks) * 4096)
            noteWritten()
            filling.new = []
        }
        openRegion.withLock { $0.region = -1 }
        filling.region = -1
        filling.free = []
        tellLog(&filling, all: true)
    }

    /// The budget is told what was written; while the device fills for the first time that costs
    /// nothing.
    func noteWritten() {
        let now = clock()
        budget.withLock { budget in
            budget.note(
                total: counters.writtenBytes.load(ordering: .relaxed), isFree: isFirstFill, now: now
            )
        }
    }

    /// Whether there is room that was never used.
    private var isFirstFill: Bool {
        counters.filledSlots.load(ordering: .relaxed)
            < geometry.slotCount - 2 * geometry.slotsPerRegion
    }

    private func writeContents(_ places: [Int], region: Int) throws(Errno) {
        // Nobody changes the buffer but who fills the region, which is this thread.
        let buffer = openRegion.withLock { $0.buffer }
        var first = 0
        while first < places.count {
            var end = first + 1
            while end < places.count, places[end] == places[end - 1] + 1 { end += 1 }
            let blocks = buffer.blocks(geometry.summaryBlocks + places[first], end - first)
            let slot = region * geometry.slotsPerRegion + places[first]
            try device.write(UnsafeRawBufferPointer(blocks), at: geometry.offset(ofSlot: slot))
            first = end
        }
        try device.flush()
    }

    /// Tells the log of blocks that still have the content they were given; all of them when their
    /// region is durable, otherwise those whose contents are in other regions.
    func tellLog(_ filling: inout Filling, all: Bool) {
        let open = filling.region
        var waiting: [(file: UInt64, index: UInt32, block: UInt64, address: FlashAddress)] = []
        let isRoom = log.withState { state -> Bool in
            var isRoom = true
            for entry in filling.entries {
                let isOpen =
                    !entry.address.isZero && geometry.region(ofSlot: entry.address.slot) == open
                if !all && isOpen {
                    waiting.append(entry)
                    continue
                }
                guard map.find(entry.index, entry.block) == entry.address,
                    slots.isCurrent(entry.address)
                else { continue }
                isRoom = tell(entry.file, entry.index, entry.block, entry.address, &state) && isRoom
            }
            return isRoom
        }
        filling.entries = waiting
        if !isRoom { needCheckpoint() }
    }

    private func tell(
        _ file: UInt64, _ index: UInt32, _ block: UInt64, _ address: FlashAddress,
        _ state: inout MapLog<Device>.State
    ) -> Bool {
        if let entry = files.takeIfChanged(file) {
            guard
                state.appendNewest(
                    .file(index: entry.index, identity: file, sample: entry.sample))
            else { return false }
        }
        state.noteKnown(file, block: block)
        return state.appendNewest(.set(index: index, block: block, place(address)))
    }

    /// What the log says of an address.
    func place(_ address: FlashAddress) -> LogRecord.Place {
        let word = address.isZero ? 0 : slots[address.slot].identity
        return LogRecord.Place(address: address, word: word)
    }
}
