import Synchronization

/// Tells a fill that its blocks were written since it began. Blocks fall on a limited number of
/// stripes, each a word of 16 bits of writes in progress and 48 bits of version; a stripe shared by
/// chance costs a fill now and then, never a wrong answer.
struct WriteStripes: BitwiseCopyable, @unchecked Sendable {
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let count: Int

    private static let writer: UInt64 = 1 << 48
    /// What a fill samples when it must not admit anything.
    static let refused = UInt64.max
    /// Blocks that fall on the same stripe.
    static let blocksShift: UInt64 = 8

    static func bytes(_ count: Int) -> Int { Arena.bytes(Atomic<UInt64>.self, count) }

    /// `count` is a power of two.
    init(_ arena: inout Arena, count: Int) {
        words = arena.take(Atomic<UInt64>.self, count)
        self.count = count
    }

    /// The stripe of a group of 256 blocks of a file.
    @inline(__always)
    func stripe(_ file: CacheID, group: UInt64) -> Int {
        let hash = spread(UInt64(file.rawValue) &<< 26 ^ group)
        return Int(truncatingIfNeeded: hash & UInt64(truncatingIfNeeded: count &- 1))
    }

    /// The version that blocks read from now on have; `refused` while a write is in progress.
    func sample(_ stripe: Int) -> UInt64 {
        let word = words[stripe].load(ordering: .sequentiallyConsistent)
        return word >= WriteStripes.writer ? WriteStripes.refused : word
    }

    /// Whether no write began since the sample was taken.
    @inline(__always)
    func isUnchanged(_ stripe: Int, since sample: UInt64) -> Bool {
        words[stripe].load(ordering: .sequentiallyConsistent) == sample
    }

    func begin(_ stripe: Int) {
        words[stripe].wrappingAdd(WriteStripes.writer &+ 1, ordering: .sequentiallyConsistent)
    }

    func end(_ stripe: Int) {
        words[stripe].wrappingSubtract(WriteStripes.writer, ordering: .sequentiallyConsistent)
    }
}
