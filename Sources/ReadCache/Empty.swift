import Syscalls
package struct CacheID: Hashable, BitwiseCopyable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
}
package struct ReadLease: ~Copyable {
    package private(set) var count = 0
    package init() {}
    package mutating func release() {}
    package func address(_ index: Int) -> UnsafeRawPointer { UnsafeRawPointer(bitPattern: 4096).unsafelyUnwrapped }
}
package struct FillTicket: BitwiseCopyable {}
package struct WriteTicket: BitwiseCopyable {}
package struct MemoryTierStatistics: Sendable { package var uniqueBlocks = 0, bookkeepingBytes = 0, evictions = 0 }
package final class MemoryTier: Sendable {
    package init(budget: Int, framesDescriptor: Int32?, key: [UInt8]) throws(Errno) {}
    package func newFile() -> CacheID { CacheID(rawValue: 0) }
    package func lookup(_ file: CacheID, firstBlock: UInt64, count: Int, into lease: inout ReadLease, zeros: inout Int) -> Int { 0 }
    package func contains(_ file: CacheID, block: UInt64) -> Bool { false }
    package func beginFill(_ file: CacheID, firstBlock: UInt64, count: Int) -> FillTicket { FillTicket() }
    package func endFill(_ ticket: FillTicket, blocks: UnsafeRawPointer, count: Int, pinned: Bool) {}
    package func beginWrite(_ file: CacheID, firstBlock: UInt64, count: UInt64) -> WriteTicket { WriteTicket() }
    package func endWrite(_ ticket: WriteTicket) {}
    package func cachedBlocks(_ visit: (CacheID, Int) -> Void) {}
    package var statistics: MemoryTierStatistics { MemoryTierStatistics() }
}
