import Glibc
import ReadCache
import Syscalls
import Testing

/// A tier with helpers that fill and read numbered contents.
struct TierHarness {
    let tier: MemoryTier

    init(mebibytes: Int, generations: UInt32 = MemoryTier.mostGenerations) throws {
        tier = try MemoryTier(
            budget: mebibytes << 20, framesDescriptor: nil,
            key: (0..<64).map { UInt8($0 * 3 + 1) }, generations: generations)
    }

    /// A block whose bytes all depend on the number; number 0 is the zero block.
    static func block(_ number: UInt64) -> [UInt64] {
        if number == 0 { return [UInt64](repeating: 0, count: 512) }
        var block = [UInt64](repeating: number &* 0x9E37_79B9_7F4A_7C15, count: 512)
        block[0] = number
        block[511] = ~number
        return block
    }

    /// Brings consecutive blocks as one fill.
    func fill(
        _ file: CacheID, _ firstBlock: UInt64, _ numbers: [UInt64], pinned: Bool = false,
        readAhead: Bool = false
    ) {
        let ticket = tier.beginFill(file, firstBlock: firstBlock, count: numbers.count)
        endFill(ticket, numbers, pinned: pinned, readAhead: readAhead)
    }

    func endFill(
        _ ticket: FillTicket, _ numbers: [UInt64], pinned: Bool = false, readAhead: Bool = false
    ) {
        var bytes: [UInt64] = []
        bytes.reserveCapacity(numbers.count * 512)
        for number in numbers { bytes.append(contentsOf: TierHarness.block(number)) }
        bytes.withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            tier.endFill(
                ticket, blocks: base, count: numbers.count, pinned: pinned, readAhead: readAhead)
        }
    }

    /// Fills `count` blocks of distinct contents, 64 at a time.
    func fillDistinct(
        _ file: CacheID, blocks: Range<UInt64>, offset: UInt64, pinned: Bool = false
    ) {
        var block = blocks.lowerBound
        while block < blocks.upperBound {
            let end = min(block + 64, blocks.upperBound)
            fill(file, block, (block..<end).map { $0 + offset }, pinned: pinned)
            block = end
        }
    }

    /// The number of the block's contents as the cache has them; nil when it does not have them,
    /// UInt64.max when the bytes are not those of any number.
    func read(_ file: CacheID, _ block: UInt64) -> UInt64? {
        var lease = ReadLease()
        var zeros = 0
        guard tier.lookup(file, firstBlock: block, count: 1, into: &lease, zeros: &zeros) == 1
        else { return nil }
        return TierHarness.number(lease.address(0))
    }

    /// The number of a block's bytes; UInt64.max when they are not those of any number.
    static func number(_ address: UnsafeRawPointer) -> UInt64 {
        let words = address.assumingMemoryBound(to: UInt64.self)
        let number = words[0]
        if number == 0 { return words[1] == 0 && words[511] == 0 ? 0 : .max }
        let middle = number &* 0x9E37_79B9_7F4A_7C15
        let isWhole =
            words[511] == ~number && words[1] == middle && words[255] == middle
            && words[510] == middle
        return isWhole ? number : .max
    }

    /// How many of the blocks a read finds now.
    func hits(_ file: CacheID, _ blocks: Range<UInt64>) -> Int {
        blocks.reduce(0) { $0 + (read(file, $1) != nil ? 1 : 0) }
    }
}

/// A small generator with a seed (SplitMix64), so that a failure can be run again.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
