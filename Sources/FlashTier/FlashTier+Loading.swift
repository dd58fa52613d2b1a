import Devices
import ReadCache
import Synchronization
import Syscalls

/// Reading the index after the opening, while the mount serves.
extension FlashTier {
    /// Reads contents and maps from the device and makes the map as it is now durable; until then
    /// nothing is found. Takes a while on a large device; one thread calls it once. Throws what the
    /// device says, after the tier was given up.
    package func load() throws(Errno) {
        do throws(Errno) {
            try loadContents()
            if believesMaps { try loadGhosts() }
            let marks = believesMaps ? try loadMap() : []
            settle(marks)
            try checkpoint()
        } catch {
            giveUp("it fails: \(error)")
            throw error
        }
        _ = change(from: .settling, to: .on)
    }

    private func loadContents() throws(Errno) {
        let buffer = BlockBuffer(blocks: geometry.summaryBlocks)
        var newest: (sequence: UInt64, region: Int) = (0, -1)
        for region in 0..<geometry.regionCount {
            guard phase == .loading else { return }
            let summary = try RegionSummary(
                region: region, from: device, geometry, key: pageKey, buffer)
            if summary.sequence > newest.sequence { newest = (summary.sequence, region) }
            for (place, slot) in summary.slots.enumerated() {
                let number = region * geometry.slotsPerRegion + place
                guard let content = slot.content else {
                    slots[number] = SlotWord(emptyOf: slot.generation)
                    continue
                }
                enter(content, slot: number, generation: slot.generation)
            }
            counters.loadedRegions.wrappingAdd(1, ordering: .relaxed)
        }
        filling.withLock { filling in
            filling.sequence = newest.sequence
            filling.hand = (newest.region + 1) % geometry.regionCount
        }
    }

    /// A slot has a content from now on.
    func enter(_ content: Fingerprint, slot: Int, generation: UInt8) {
        slots[slot] = SlotWord(content, generation: generation)
        counters.filledSlots.wrappingAdd(1, ordering: .relaxed)
        if let loser = index.insert(content, slot: slot, slots) { empty(loser) }
    }

    /// Reads the log; answers the ranges that were being written when it ended.
    private func loadMap() throws(Errno) -> Set<WriteMark> {
        let header = header.withLock { $0 }
        var marks: Set<WriteMark> = []
        _ = try LogStream.replay(
            .log, epoch: header.epoch, offset: geometry.logOffset(half: Int(header.half)),
            capacity: geometry.logBlocks, from: device, key: pageKey
        ) { apply($0, &marks) }
        _ = try LogStream.replay(
            .early, epoch: header.epoch, offset: geometry.earlyOffset,
            capacity: geometry.earlyBlocks, from: device, key: pageKey
        ) { apply($0, &marks) }
        return marks
    }

    private func apply(_ record: LogRecord, _ marks: inout Set<WriteMark>) {
        switch record {
        case .file(let index, let identity, let sample):
            guard index < FlashMap.fileLimit else { return }
            files.restore(identity, index: index, sample)
        case .drop(let index): files.forget(index: index)
        case .set(let index, let block, let place):
            guard note(index, block) else { return }
            if isValid(place) {
                _ = map.set(index, block, place.address) { true }
            } else {
                map.remove(index, block..<block + 1)
            }
        case .run(let index, let run, let mask, let places):
            guard run < FlashMap.blockLimit / RunShard.runBlocks,
                note(index, run * RunShard.runBlocks)
            else { return }
            let bits = (0..<RunShard.runBlocks).filter { mask & 1 << $0 != 0 }
            let valid = zip(bits, places).filter { isValid($0.1) }
            map.replace(index, run: run, valid.map { (bit: $0.0, address: $0.1.address) })
        case .mark(let mark): marks.insert(mark)
        case .clear(let mark):
            marks.remove(mark)
            if let index = files.index(mark.identity) { map.remove(index, mark.blocks) }
        }
    }

    /// Whether a record names a block of a file that is known; remembers that the log has it.
    private func note(_ index: UInt32, _ block: UInt64) -> Bool {
        guard block < FlashMap.blockLimit, let identity = files.identity(index: index) else {
            return false
        }
        log.withState { $0.noteKnown(identity, block: block) }
        return true
    }

    /// Whether a slot still has what a record says.
    private func isValid(_ place: LogRecord.Place) -> Bool {
        if place.address.isZero { return true }
        guard place.address.slot < slots.count else { return false }
        let word = slots[place.address.slot]
        return word.isFilled && word.identity == place.word
            && word.generation == place.address.generation
    }

    /// Ends the loading: what was being written, before or since the opening, is forgotten. Marks
    /// from before the opening stay until their files are believed: they tell why a file is not as
    /// it was sampled.
    private func settle(_ marks: Set<WriteMark>) {
        let now = clock()
        log.withState { state in
            for mark in marks.union(state.marks.keys) {
                if let index = files.index(mark.identity) { map.remove(index, mark.blocks) }
            }
            for mark in marks where files.noteWritten(mark.identity) && state.marks[mark] == nil {
                state.marks[mark] = .init(ticket: 0, lastWrite: now)
            }
            _ = change(from: .loading, to: .settling)
        }
        keepAgain()
    }
}
