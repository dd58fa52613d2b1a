import Devices
import ReadCache
import Synchronization
import Syscalls

/// Making room: the regions are filled in turn.
extension FlashTier {
    /// Opens a region for filling: what was used since its last turn stays where it is, the rest
    /// makes room. Throws what the device says.
    func reclaim(_ region: Int, _ filling: inout Filling) throws(Errno) {
        let buffer = BlockBuffer(blocks: geometry.summaryBlocks)
        filling.summary = try RegionSummary(
            region: region, from: device, geometry, key: pageKey, buffer)
        let first = region * geometry.slotsPerRegion
        let all = first..<first + geometry.slotsPerRegion
        let lost = filling.summary.damagedPages + filling.summary.absentPages
        if lost > 0, all.contains(where: { slots[$0] != SlotWord() }) {
            // It is not known by what its slots are found. Never so while the device fills.
            index.removeAll(slots: all)
        }
        var staying = 0
        let isKept = kept.withLock { kept in all.map { kept.contains($0) } }
        for place in 0..<geometry.slotsPerRegion {
            let slot = first + place
            if isPresent(slot, filling.summary.slots[place]), isKept[place] {
                if !slots.markUnused(slot) { empty(slot, place, &filling) }
            } else if stays(slot, filling.summary.slots[place], staying), slots.markUnused(slot) {
                staying += 1
            } else {
                empty(slot, place, &filling)
            }
        }
        filling.free.reverse()
        openRegion.withLock { open in
            open.region = region
            for place in open.isHere.indices { open.isHere[place] = false }
        }
        filling.region = region
        filling.hand = (region + 1) % geometry.regionCount
        if filling.hand == 0 { needCheckpoint() }
        sweep(&filling)
    }

    /// Three quarters of a region may stay for having been used, so that a turn always makes room.
    private func stays(_ slot: Int, _ described: RegionSummary.Slot, _ staying: Int) -> Bool {
        slots[slot].isUsed && staying < geometry.slotsPerRegion * 3 / 4
            && isPresent(slot, described)
    }

    /// Whether a slot has the content that the summary says.
    private func isPresent(_ slot: Int, _ described: RegionSummary.Slot) -> Bool {
        let word = slots[slot]
        guard word.isFilled, let content = described.content else { return false }
        return word.generation == described.generation && word.stands(for: content)
    }

    private func empty(_ slot: Int, _ place: Int, _ filling: inout Filling) {
        if let content = filling.summary.slots[place].content {
            index.remove(content, slot: slot)
        }
        empty(slot)
        filling.summary.slots[place] = .init(content: nil, generation: slots[slot].generation)
        filling.free.append(place)
    }

    /// Looks through a part of the map for addresses that are void: all of it is seen once in each
    /// turn, before a generation can come round again.
    private func sweep(_ filling: inout Filling) {
        let count = (map.shardCount + geometry.regionCount - 1) / geometry.regionCount
        for _ in 0..<count {
            sweep(shard: filling.nextShard, filling.dead)
            filling.nextShard += 1
            if filling.nextShard == map.shardCount {
                filling.nextShard = 0
                files.bury(filling.dead)
                filling.dead = files.dead
                kept.withLock { $0.turn() }
            }
        }
    }

    /// Takes void addresses out, and notes the slots of files whose contents are kept.
    private func sweep(shard: Int, _ dead: Set<UInt32>) {
        let keeping = keptNumbers()
        var stored: [Int] = []
        map.purge(shard: shard) { key, _, address in
            let file = FlashMap.file(ofKey: key)
            guard slots.isCurrent(address), !dead.contains(file) else { return false }
            if !address.isZero, keeping.contains(file) { stored.append(address.slot) }
            return true
        }
        if !stored.isEmpty { kept.withLock { $0.note(stored) } }
    }
}
