/// Names one block map of one file. To forget all that is cached of a file, take a new one.
package struct CacheID: Hashable, BitwiseCopyable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Ids have 30 bits in the block map.
    static let limit: UInt32 = 1 << 30
    /// What is given out when there are no ids left: nothing is cached under it.
    static let none = CacheID(rawValue: .max)
}

/// A block of a file as the block map names it: 30 bits of file, 34 bits of block (64 TiB).
struct BlockKey: BitwiseCopyable {
    /// The spread form of the number, exact.
    let spreadValue: UInt64

    static let blockLimit: UInt64 = 1 << 34

    @inline(__always)
    init(_ file: CacheID, _ block: UInt64, secret: UInt64) {
        spreadValue = spread((UInt64(file.rawValue) &<< 34 | block) ^ secret)
    }

    /// The file of a spread key.
    static func file(of spreadValue: UInt64, secret: UInt64) -> CacheID {
        CacheID(rawValue: UInt32(truncatingIfNeeded: (gathered(spreadValue) ^ secret) &>> 34))
    }

    /// The block of a spread key.
    static func block(of spreadValue: UInt64, secret: UInt64) -> UInt64 {
        (gathered(spreadValue) ^ secret) & (blockLimit - 1)
    }
}
