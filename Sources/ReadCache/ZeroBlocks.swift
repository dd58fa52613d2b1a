import Synchronization

/// Zero blocks have no content: one entry tells for 32 neighbouring blocks which of them are zero,
/// so that a sparse disk which is read once does not fill the map. A block has an entry of its own
/// or a bit here, never both.
extension BlockMap {
    /// The bit of a block in the entry of its run.
    @inline(__always)
    static func bit(_ block: UInt64) -> UInt32 {
        1 &<< UInt32(truncatingIfNeeded: block % runBlocks)
    }

    /// The bits of blocks that are all in one run.
    static func bits(_ firstBlock: UInt64, _ count: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: (UInt64(1) << UInt64(count) - 1) << (firstBlock % runBlocks))
    }

    /// Which blocks around this one are known to be zero. Under the shard's lock, like all here.
    @inline(__always)
    func knownZeros(
        _ shard: UnsafeMutablePointer<BlockMapShard>, _ file: CacheID, _ block: UInt64
    ) -> UInt32 {
        if shard.pointee.zeroCount == 0 { return 0 }
        let key = BlockKey(zerosOf: file, around: block, secret: secret).spreadValue
        return shard.pointee.find(key)?.pointee.zeros ?? 0
    }

    /// Notes that a block is zero if `isCurrent`, asked under the shard's lock, still says so.
    func insertZero(_ file: CacheID, _ block: UInt64, _ isCurrent: () -> Bool) {
        let index = shard(file, block)
        lock(index)
        defer { unlock(index) }
        guard isCurrent() else { return }
        let shard = shards + index
        let own = BlockKey(file, block, secret: secret).spreadValue
        if let place = shard.pointee.find(own) {
            forgetKept(place.pointee)
            shard.pointee.remove(place)
        }
        // A server that dies here must not leave both.
        atomicMemoryFence(ordering: .acquiringAndReleasing)
        let key = BlockKey(zerosOf: file, around: block, secret: secret).spreadValue
        if let place = shard.pointee.find(key) {
            place.pointee.zeros |= BlockMap.bit(block)
            return
        }
        _ = add(BlockMapEntry(key: key, zeros: BlockMap.bit(block)), to: shard)
    }

    /// These blocks of the run are no longer known to be zero.
    func clearZeros(
        _ shard: UnsafeMutablePointer<BlockMapShard>, _ file: CacheID, _ block: UInt64,
        _ bits: UInt32
    ) {
        if shard.pointee.zeroCount == 0 { return }
        let key = BlockKey(zerosOf: file, around: block, secret: secret).spreadValue
        guard let place = shard.pointee.find(key), place.pointee.zeros & bits != 0 else { return }
        place.pointee.zeros &= ~bits
        if place.pointee.zeros == 0 { shard.pointee.remove(place) }
    }

    /// The blocks of a range are no longer known to be zero. Answers whether others still are.
    func clearZeros(_ entry: inout BlockMapEntry, in range: Range<UInt64>) -> Bool {
        let first = BlockKey.block(of: entry.key, secret: secret) * BlockMap.runBlocks
        let covered = range.clamped(to: first..<(first + BlockMap.runBlocks))
        if !covered.isEmpty {
            entry.zeros &= ~BlockMap.bits(covered.lowerBound, covered.count)
        }
        return entry.zeros != 0
    }
}
