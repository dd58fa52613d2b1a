import Glibc
import Syscalls
import TestSupport
import Testing

@testable import FlashTier
@testable import ReadCache

/// What the index takes, measured on its parts as they are on a device of 512 MiB; where there is
/// time, of 1 TiB.
@Suite(.serialized) struct MemoryTests {
    private static let slots = 1 << 17
    private static let isLong = getenv("FOREBAY_TEST_LONG") != nil

    /// What every slot has a content for, that `copies` blocks have, in stretches of `stretch`
    /// blocks one behind the other.
    private struct Filled {
        let slots: SlotTable
        let index: ContentIndex
        let map: FlashMap
        private let arena: Arena
        private let fixed: Int
        let copies: UInt32
        let stretch: UInt64
        /// Contents that found no place, and blocks that found none.
        private(set) var lost = 0
        private(set) var unmapped = 0

        init(slots count: Int, copies: UInt32, stretch: UInt64) throws {
            fixed =
                SlotTable.bytes(count) + ContentIndex.bytes(slots: count)
                + FlashMap.bytes(slots: count) + WriteVersions.bytes
                + GhostFilter.bytes(slots: count)
            var arena = try Arena(size: fixed)
            slots = SlotTable(&arena, count: count)
            index = ContentIndex(&arena, slots: count)
            map = FlashMap(&arena, slots: count, limit: .max)
            self.arena = arena
            (self.copies, self.stretch) = (copies, stretch)
            for slot in 0..<count {
                let content = content(slot)
                slots[slot] = SlotWord(content, generation: 0)
                if index.insert(content, slot: slot, slots) != nil { lost += 1 }
                let address = FlashAddress(slot: slot, generation: 0)
                for file in 1...copies where !map.set(file, block(slot), address, { true }) {
                    unmapped += 1
                }
            }
        }

        func content(_ slot: Int) -> Fingerprint {
            Fingerprint(high: spread(UInt64(slot)), low: spread(~UInt64(slot)))
        }

        func block(_ slot: Int) -> UInt64 {
            UInt64(slot) / stretch * max(stretch, 64) + UInt64(slot) % stretch
        }

        /// Bytes of everything, for each block.
        var perBlock: Double {
            let filter = max(64, slots.count / 512) * 8
            return Double(fixed + map.bytes + filter) / Double(slots.count * Int(copies))
        }

        func destroy() {
            map.destroy()
            index.destroy()
            arena.unmap()
        }
    }

    @Test(
        arguments: [(UInt32(1), UInt64(32), 15.5), (4, 32, 8.0)] + (isLong ? [(1, 1, 25.0)] : []))
    func bytesForEachCachedBlock(_ copies: UInt32, _ stretch: UInt64, _ limit: Double) throws {
        let filled = try Filled(slots: Self.slots, copies: copies, stretch: stretch)
        defer { filled.destroy() }
        print("\(copies) copies, \(stretch) in a row: \(filled.perBlock) bytes for each block")
        #expect(filled.perBlock < limit)
        #expect(filled.lost < Self.slots / 1000)
        #expect(filled.unmapped == 0)
        #expect(filled.map.entries == Self.slots * Int(copies))
    }

    /// A device of 1 TiB whose slots all have a content of their own: what the index takes, how
    /// long things take, and that what was entered is found.
    @Test(.enabled(if: isLong)) func anIndexOfOneTebibyte() throws {
        let count = 1 << 28
        var start = monotonicNanoseconds()
        func lap() -> Double {
            defer { start = monotonicNanoseconds() }
            return Double(monotonicNanoseconds() - start) / 1e9
        }
        let filled = try Filled(slots: count, copies: 1, stretch: 32)
        defer { filled.destroy() }
        print("filled in \(lap()) s: \(filled.perBlock) bytes for each block")
        #expect(filled.perBlock < 15.5)
        #expect(filled.lost < count / 1000)
        #expect(filled.unmapped == 0)
        var missing = 0
        let looks = 1_000_000
        for number in 0..<looks {
            let slot = scaled(spread(UInt64(number)), count)
            let found = filled.map.find(1, filled.block(slot))
            let isHere = found.map { $0.slot == slot && filled.slots.isCurrent($0) } ?? false
            if !isHere { missing += 1 }
        }
        print("a look-up takes \(lap() / Double(looks) * 1e9) ns")
        #expect(missing == 0)
        var lost = 0
        for number in 0..<looks {
            let slot = scaled(spread(UInt64(number)), count)
            if !filled.index.contains(filled.content(slot), slot: slot) { lost += 1 }
        }
        print("a look for a content takes \(lap() / Double(looks) * 1e9) ns")
        #expect(lost < looks / 500)
        filled.map.purge { _, _, address in filled.slots.isCurrent(address) }
        print("a walk through the map takes \(lap()) s")
        #expect(filled.map.entries == count)
    }
}
