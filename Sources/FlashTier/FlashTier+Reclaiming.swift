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
        var kept = 0
        for place in 0..<geometry.slotsPerRegion {
            let slot = first + place
            if keeps(slot, filling.summary.slots[place], kept) {
                slots[slot] = slots[slot].unused
                kept += 1
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

    /// Three quarters of a region may stay, so that a turn always makes room.
    private func keeps(_ slot: Int, _ described: RegionSummary.Slot, _ kept: Int) -> Bool {
        let word = slots[slot]
        guard word.isFilled, word.isUsed, kept < geometry.slotsPerRegion * 3 / 4,
            let content = described.content
        else { return false }
        return word.generation == described.generation && word.stands(for: content)
    }

    private func empty(_ slot: Int, _ place: Int, _ filling: inout Filling) {
        if let content = filling.summary.slots[place].content {
            index.remove(content, slot: slot)
        }
        drop(slot)
        filling.summary.slots[place] = .init(content: nil, generation: slots[slot].generation)
        filling.free.append(place)
    }

    /// Looks through a part of the map for addresses that are void: all of it is seen once in each
    /// turn, before a generation can come round again.
    private func sweep(_ filling: inout Filling) {
        let count = (map.shardCount + geometry.regionCount - 1) / geometry.regionCount
        for _ in 0..<count {
            let dead = filling.dead
            map.purge(shard: filling.nextShard) { key, _, address in
                slots.isCurrent(address) && !dead.contains(FlashMap.file(ofKey: key))
            }
            filling.nextShard += 1
            if filling.nextShard == map.shardCount {
                filling.nextShard = 0
                files.bury(filling.dead)
                filling.dead = files.dead
            }
        }
    }
}
