import Syscalls
import TestSupport
import Testing

@testable import FlashTier
@testable import ReadCache

/// What the index takes, measured on its parts as they are on a device of 512 MiB.
@Suite struct MemoryTests {
    private static let slots = 1 << 17

    /// Bytes of the whole index when every slot has a content that `copies` blocks have, in stretches
    /// of `stretch` blocks one behind the other.
    private func measure(copies: UInt32, stretch: UInt64) throws -> (perBlock: Double, lost: Int) {
        let count = Self.slots
        let fixed =
            SlotTable.bytes(count) + ContentIndex.bytes(slots: count)
            + FlashMap.bytes(slots: count) + WriteVersions.bytes + GhostFilter.bytes(slots: count)
        var arena = try Arena(size: fixed)
        defer { arena.unmap() }
        let slots = SlotTable(&arena, count: count)
        let index = ContentIndex(&arena, slots: count)
        let map = FlashMap(&arena, slots: count, limit: .max)
        defer {
            map.destroy()
            index.destroy()
        }
        var generator = SplitMix64(seed: 5)
        var lost = 0
        for slot in 0..<count {
            let content = Fingerprint(high: generator.next(), low: generator.next())
            slots[slot] = SlotWord(content, generation: 0)
            if index.insert(content, slot: slot) != nil { lost += 1 }
            let number = UInt64(slot)
            let block = number / stretch * max(stretch, 64) + number % stretch
            for file in 1...copies {
                #expect(map.set(file, block, FlashAddress(slot: slot, generation: 0)) { true })
            }
        }
        let filter = max(64, count / 512) * 8
        let bytes = fixed + map.bytes + filter
        return (Double(bytes) / Double(count * Int(copies)), lost)
    }

    @Test(arguments: [(UInt32(1), UInt64(32), 14.5), (4, 32, 8.0), (1, 1, 25.0)])
    func bytesForEachCachedBlock(_ copies: UInt32, _ stretch: UInt64, _ limit: Double) throws {
        let (perBlock, lost) = try measure(copies: copies, stretch: stretch)
        print(
            "\(copies) copies, \(stretch) in a row: \(perBlock) bytes for each block, lost \(lost)")
        #expect(perBlock < limit)
        #expect(lost < Self.slots / 1000)
    }
}
