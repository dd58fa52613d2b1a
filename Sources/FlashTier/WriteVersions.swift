import ReadCache
import Synchronization

/// Tells whether blocks were written since something was read of them: stripes of 16 bits of writes
/// in progress and 48 bits of version. A stripe shared by chance costs an offer, never a wrong
/// byte.
struct WriteVersions: @unchecked Sendable {
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    private static let count = 1 << 12
    private static let writer: UInt64 = 1 << 48
    /// Most stripes that one write counts in; beyond, it counts in all.
    private static let mostGroups: UInt64 = 16

    static let bytes = Arena.bytes(Atomic<UInt64>.self, count)

    init(_ arena: inout Arena) { words = arena.take(Atomic<UInt64>.self, Self.count) }

    /// Of 256 blocks.
    private func stripe(_ file: UInt64, group: UInt64) -> Int {
        scaled(spread(file ^ spread(group)), Self.count)
    }

    private func forEachStripe(
        _ file: UInt64, _ blocks: Range<UInt64>, _ body: (borrowing Atomic<UInt64>) -> Void
    ) {
        let first = blocks.lowerBound / FlashMap.rangeBlocks
        let last = max(blocks.upperBound, blocks.lowerBound + 1) - 1
        let groups = last / FlashMap.rangeBlocks - first
        if groups >= Self.mostGroups {
            for index in 0..<Self.count { body(words[index]) }
        } else {
            for group in first...first + groups { body(words[stripe(file, group: group)]) }
        }
    }

    func begin(_ file: UInt64, _ blocks: Range<UInt64>) {
        forEachStripe(file, blocks) {
            $0.wrappingAdd(Self.writer &+ 1, ordering: .sequentiallyConsistent)
        }
    }

    func end(_ file: UInt64, _ blocks: Range<UInt64>) {
        forEachStripe(file, blocks) {
            $0.wrappingSubtract(Self.writer, ordering: .sequentiallyConsistent)
        }
    }

    /// The version of a block; nil while it is being written.
    func sample(_ file: UInt64, _ block: UInt64) -> UInt64? {
        let word = words[stripe(file, group: block / FlashMap.rangeBlocks)]
            .load(ordering: .sequentiallyConsistent)
        return word >= Self.writer ? nil : word
    }
}
