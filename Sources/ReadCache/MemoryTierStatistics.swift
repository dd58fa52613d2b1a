/// Figures of the RAM tier at one moment. Blocks are of 4,096 bytes.
package struct MemoryTierStatistics: Sendable, Equatable {
    /// Contents that at least one block of a file has, each counted once.
    package var uniqueBlocks = 0
    /// Blocks of files that are in memory, zero blocks not counted.
    package var cachedBlocks = 0
    /// Blocks of files that are known to be all zero; they take no frame.
    package var zeroBlocks = 0
    /// Frames that have contents, also of blocks that were overwritten or dropped since.
    package var framesInUse = 0
    /// Frames that the budget allows now.
    package var frameCapacity = 0
    /// Contents of which only the fingerprint is kept.
    package var ghosts = 0
    /// Bytes of everything but the frames.
    package var bookkeepingBytes = 0
    /// Bytes that frames and bookkeeping may take together.
    package var budget = 0
    /// Contents that lost their frame, since the start.
    package var evictions: UInt64 = 0
    /// Contents of an earlier server that were not what they had been taken for, since the start.
    package var damagedBlocks: UInt64 = 0
    /// Blocks that were brought while their contents were there already, since the start.
    package var mergedBlocks: UInt64 = 0

    package init() {}
}
