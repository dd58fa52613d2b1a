import Synchronization

/// The contents of consecutive blocks, which stay in memory while the lease holds them: as many as
/// a request of 1 MiB that is not aligned touches. Room for them is made once for each lease, which
/// is used again for every read. Nothing here copies it or counts references.
package struct ReadLease: ~Copyable {
    /// Blocks that a lease can hold.
    package static let capacity = 257

    /// Content id and frame of each; id 0 for a zero block.
    private let blocks = UnsafeMutablePointer<UInt64>.allocate(capacity: Self.capacity)
    /// Blocks held.
    package private(set) var count = 0
    private var tier: MemoryTier?
    /// What is used of the tier, which `tier` keeps alive.
    private var contents: ContentTable?
    private var frameMemory = UnsafeRawPointer(bitPattern: 0)
    private var zeroPage = UnsafeRawPointer(bitPattern: 0)

    package init() {}

    deinit {
        unpin()
        blocks.deallocate()
    }

    /// Where the 4,096 bytes of a held block are. `index` is below `count`.
    package func address(_ index: Int) -> UnsafeRawPointer {
        guard let zeroPage, let frameMemory, index >= 0, index < count else {
            preconditionFailure("the lease holds no such block")
        }
        let block = blocks[index]
        if UInt32(truncatingIfNeeded: block) == 0 { return zeroPage }
        return frameMemory + Int(block &>> 32) &* 4096
    }

    /// Lets all blocks go; the lease can be used again.
    package mutating func release() {
        unpin()
        count = 0
    }

    private borrowing func unpin() {
        guard count > 0, let contents else { return }
        for index in 0..<count {
            let id = UInt32(truncatingIfNeeded: blocks[index])
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
        contents = tier.contents
        frameMemory = UnsafeRawPointer(tier.frameMemory)
        zeroPage = tier.zeroPage
        return true
    }

    /// Takes a content that the caller pinned. There is room.
    @inline(__always)
    mutating func append(_ id: UInt32, frame: UInt32) {
        blocks[count] = UInt64(id) | UInt64(frame) &<< 32
        count &+= 1
    }

    @inline(__always)
    mutating func appendZero() {
        blocks[count] = 0
        count &+= 1
    }
}
