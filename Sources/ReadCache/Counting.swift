import Synchronization

/// Figures, for the control path: these walk the whole block map.
extension MemoryTier {
    /// Tells of each block in memory which content it has, zero blocks left out.
    package func forEachBlock(_ visit: (CacheID, UInt64, UInt32) -> Void) {
        map.forEach { file, entry in
            guard !entry.isZero else { return }
            visit(file, BlockKey.block(of: entry.key, secret: map.secret), entry.content)
        }
    }

    /// All figures of this moment.
    package var statistics: MemoryTierStatistics {
        var result = MemoryTierStatistics()
        var seen = [UInt64](repeating: 0, count: contents.count / 64 + 1)
        map.forEach { _, entry in
            if entry.isZero {
                result.zeroBlocks += entry.zeros.nonzeroBitCount
                return
            }
            result.cachedBlocks += 1
            let place = Int(entry.content / 64)
            let bit: UInt64 = 1 << UInt64(entry.content % 64)
            if seen[place] & bit == 0 {
                seen[place] |= bit
                result.uniqueBlocks += 1
            }
        }
        withPool { pool in
            result.framesInUse = pool.inUse
            result.frameCapacity = pool.allowed
            result.evictions = pool.evictions
            result.ghosts = pool.ghosts.count
        }
        result.bookkeepingBytes = geometry.fixedBytes + map.bytes
        result.budget = geometry.budget
        result.damagedBlocks = damaged.load(ordering: .relaxed)
        result.mergedBlocks = merged.load(ordering: .relaxed)
        return result
    }
}
