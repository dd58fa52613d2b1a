/// Names one block map of one file. To forget all that is cached of a file, take a new one.
package struct CacheID: Hashable, BitwiseCopyable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Ids have 29 bits in the block map: enough for ten new ones a second for a year and a half.
    static let limit: UInt32 = 1 << 29
    /// A file without a map, and what is given out when there are no ids left: nothing is cached
    /// under it.
    package static let none = CacheID(rawValue: .max)
}

/// What the block map has an entry for: a block of a file (29 bits of file, 34 bits of block, which
/// is 64 TiB), or 32 neighbouring blocks of which some are zero.
struct BlockKey: BitwiseCopyable {
    /// The spread form of the number, exact.
    let spreadValue: UInt64

    static let blockLimit: UInt64 = 1 << 34

    @inline(__always)
    init(_ file: CacheID, _ block: UInt64, secret: UInt64) {
        spreadValue = spread((UInt64(file.rawValue) &<< 34 | block) ^ secret)
    }

    /// The run of blocks that `block` is in, for its zero blocks.
    @inline(__always)
    init(zerosOf file: CacheID, around block: UInt64, secret: UInt64) {
        let run = block / BlockMap.runBlocks
        spreadValue = spread((1 &<< 63 | UInt64(file.rawValue) &<< 34 | run) ^ secret)
    }

    /// The file of a spread key.
    static func file(of spreadValue: UInt64, secret: UInt64) -> CacheID {
        let number = gathered(spreadValue) ^ secret
        return CacheID(rawValue: UInt32(truncatingIfNeeded: number &>> 34) & (CacheID.limit - 1))
    }

    /// The block, or the run of blocks, of a spread key.
    static func block(of spreadValue: UInt64, secret: UInt64) -> UInt64 {
        (gathered(spreadValue) ^ secret) & (blockLimit - 1)
    }
}
