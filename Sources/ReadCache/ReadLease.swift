import Synchronization

/// The contents of consecutive blocks, which stay in memory while the lease holds them: as many as
/// a request of 1 MiB that is not aligned touches. Room for them is in the lease itself, so that
/// a read allocates nothing.
package struct ReadLease: ~Copyable {
    /// Blocks that a lease can hold.
    package static let capacity = 257

    /// Content id and frame of each; id 0 for a zero block.
    private var blocks = InlineArray<257, UInt64>(repeating: 0)
    /// Blocks held.
    package private(set) var count = 0
    private var tier: MemoryTier?

    package init() {}

    deinit { unpin() }

    /// Where the 4,096 bytes of a held block are. `index` is below `count`.
    package func address(_ index: Int) -> UnsafeRawPointer {
        let block = blocks[index]
        guard let tier, index < count else {
            preconditionFailure("the lease holds no such block")
        }
        if UInt32(truncatingIfNeeded: block) == 0 { return tier.zeroPage }
        return UnsafeRawPointer(tier.frameMemory + Int(block &>> 32) &* 4096)
    }

    /// Lets all blocks go; the lease can be used again.
    package mutating func release() {
        unpin()
        count = 0
    }

    private borrowing func unpin() {
        guard count > 0, let tier else { return }
        let contents = tier.contents
        for index in 0..<count {
            let id = UInt32(truncatingIfNeeded: blocks[unchecked: index])
            if id != 0 { contents.unpin(id) }
        }
    }

    /// Blocks that it can still take.
    @inline(__always)
    var room: Int { ReadLease.capacity &- count }

    /// What follows is of this tier. A lease that holds blocks of another one cannot take it.
    @inline(__always)
    mutating func attach(_ tier: MemoryTier) -> Bool {
        if self.tier === tier { return true }
        guard count == 0 else { return false }
        self.tier = tier
        return true
    }

    /// Takes a content that the caller pinned. There is room.
    @inline(__always)
    mutating func append(_ id: UInt32, frame: UInt32) {
        blocks[unchecked: count] = UInt64(id) | UInt64(frame) &<< 32
        count &+= 1
    }

    @inline(__always)
    mutating func appendZero() {
        blocks[unchecked: count] = 0
        count &+= 1
    }
}
