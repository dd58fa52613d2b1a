import Glibc
import ReadCache
import Testing

@Suite struct EvictionTests {
    @Test func aScanLeavesTheHotSet() throws {
        let harness = try TierHarness(mebibytes: 16)
        let frames = UInt64(harness.tier.statistics.frameCapacity)
        let hot = harness.tier.newFile()
        harness.fillDistinct(hot, blocks: 0..<(frames / 2), offset: 1)
        #expect(harness.hits(hot, 0..<(frames / 2)) == Int(frames / 2))
        let scanned = harness.tier.newFile()
        harness.fillDistinct(scanned, blocks: 0..<(frames * 4), offset: 1 << 32)
        let hits = harness.hits(hot, 0..<(frames / 2))
        print("hot set after a scan: \(Double(hits) / Double(frames / 2))")
        #expect(hits * 10 >= Int(frames / 2) * 9)
    }

    @Test func aScanThroughReadAheadLeavesTheHotSet() throws {
        let harness = try TierHarness(mebibytes: 16)
        let frames = UInt64(harness.tier.statistics.frameCapacity)
        let hot = harness.tier.newFile()
        harness.fillDistinct(hot, blocks: 0..<(frames / 2), offset: 1)
        #expect(harness.hits(hot, 0..<(frames / 2)) == Int(frames / 2))
        let scanned = harness.tier.newFile()
        for block in 0..<(frames * 4) {
            harness.fill(scanned, block, [block + 1 << 32], readAhead: true)
            #expect(harness.read(scanned, block) == block + 1 << 32)
        }
        let hits = harness.hits(hot, 0..<(frames / 2))
        #expect(hits * 10 >= Int(frames / 2) * 9)
    }

    @Test func aGhostThatComesBackRevivesEveryFile() throws {
        let harness = try TierHarness(mebibytes: 4)
        let frames = UInt64(harness.tier.statistics.frameCapacity)
        let first = harness.tier.newFile()
        let second = harness.tier.newFile()
        // Read ahead: with a frequency of nothing, merging is the only use.
        harness.fill(first, 0, [77], readAhead: true)
        harness.fill(second, 5, [77], readAhead: true)
        let filler = harness.tier.newFile()
        var block: UInt64 = 0
        while harness.tier.contains(first, block: 0), block < frames * 4 {
            harness.fill(filler, block, [block + 1000], readAhead: true)
            block += 1
        }
        #expect(!harness.tier.contains(first, block: 0))
        #expect(!harness.tier.contains(second, block: 5))
        let third = harness.tier.newFile()
        harness.fill(third, 9, [77])
        #expect(harness.read(first, 0) == 77)
        #expect(harness.read(second, 5) == 77)
        #expect(harness.read(third, 9) == 77)
    }

    @Test func forgottenGhostsDoNotComeBack() throws {
        let harness = try TierHarness(mebibytes: 4)
        let frames = UInt64(harness.tier.statistics.frameCapacity)
        let file = harness.tier.newFile()
        harness.fill(file, 0, [77], readAhead: true)
        let filler = harness.tier.newFile()
        harness.fillDistinct(filler, blocks: 0..<(frames * 3), offset: 1000)
        harness.fill(filler, 0, [77])
        #expect(harness.read(file, 0) == nil)
        let statistics = harness.tier.statistics
        #expect(statistics.ghosts <= statistics.frameCapacity / 8)
    }

    @Test func pinnedContentsAreKept() throws {
        let harness = try TierHarness(mebibytes: 8)
        let frames = UInt64(harness.tier.statistics.frameCapacity)
        let file = harness.tier.newFile()
        harness.fillDistinct(file, blocks: 0..<(frames * 2 / 5), offset: 1, pinned: true)
        let scanned = harness.tier.newFile()
        harness.fillDistinct(scanned, blocks: 0..<(frames * 4), offset: 1 << 32)
        #expect(harness.hits(file, 0..<(frames * 2 / 5)) == Int(frames * 2 / 5))
    }

    @Test func pinnedContentsTakeAtMostHalf() throws {
        let harness = try TierHarness(mebibytes: 8)
        let frames = UInt64(harness.tier.statistics.frameCapacity)
        let file = harness.tier.newFile()
        harness.fillDistinct(file, blocks: 0..<(frames * 2), offset: 1, pinned: true)
        let other = harness.tier.newFile()
        for _ in 0..<2 { harness.fillDistinct(other, blocks: 0..<(frames / 3), offset: 1 << 32) }
        let scanned = harness.tier.newFile()
        harness.fillDistinct(scanned, blocks: 0..<(frames * 2), offset: 1 << 33)
        let kept = harness.hits(file, 0..<(frames * 2))
        #expect(kept >= Int(frames) * 2 / 5)
        #expect(kept <= Int(frames) * 11 / 20)
    }

    @Test func overwrittenPinnedContentsMakeRoom() throws {
        let harness = try TierHarness(mebibytes: 8)
        let tier = harness.tier
        let frames = UInt64(tier.statistics.frameCapacity)
        let file = tier.newFile()
        let scanned = tier.newFile()
        for round in 0..<6 as Range<UInt64> {
            tier.endWrite(tier.beginWrite(file, firstBlock: 0, count: frames / 3))
            harness.fillDistinct(
                file, blocks: 0..<(frames / 3), offset: (round + 1) << 32, pinned: true)
            harness.fillDistinct(scanned, blocks: 0..<(frames * 2), offset: (round + 1) << 40)
            #expect(harness.hits(file, 0..<(frames / 3)) == Int(frames / 3))
        }
    }

    @Test func evictingAllGivesTheFramesBack() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        harness.fillDistinct(file, blocks: 0..<400, offset: 1, pinned: true)
        harness.fillDistinct(file, blocks: 400..<2900, offset: 1)
        #expect(harness.hits(file, 0..<400) == 400)
        harness.tier.dropFile(file)
        harness.tier.evictAll()
        #expect(harness.tier.statistics.framesInUse == 0)
        let again = harness.tier.newFile()
        harness.fillDistinct(again, blocks: 0..<900, offset: 1)
        #expect(harness.hits(again, 0..<900) == 900)
    }

    @Test func aLeaseKeepsItsContentsUnderPressure() throws {
        let harness = try TierHarness(mebibytes: 4)
        let frames = UInt64(harness.tier.statistics.frameCapacity)
        let file = harness.tier.newFile()
        harness.fillDistinct(file, blocks: 0..<256, offset: 1)
        var lease = ReadLease()
        var zeros = 0
        let found = harness.tier.lookup(
            file, firstBlock: 0, count: 256, into: &lease, zeros: &zeros)
        #expect(found == 256)
        let filler = harness.tier.newFile()
        harness.fillDistinct(filler, blocks: 0..<(frames * 8), offset: 1 << 32)
        #expect((0..<256).allSatisfy { TierHarness.number(lease.address($0)) == UInt64($0) + 1 })
        #expect(harness.hits(file, 0..<256) == 256)
    }

    @Test func aTierFullOfHeldContentsAdmitsNothing() throws {
        let harness = try TierHarness(mebibytes: 1)
        let frames = harness.tier.statistics.frameCapacity
        let file = harness.tier.newFile()
        harness.fillDistinct(file, blocks: 0..<UInt64(frames), offset: 1)
        var lease = ReadLease()
        var zeros = 0
        let found = harness.tier.lookup(
            file, firstBlock: 0, count: frames, into: &lease, zeros: &zeros)
        #expect(found >= frames - 4)
        let filler = harness.tier.newFile()
        harness.fillDistinct(filler, blocks: 0..<1000, offset: 1 << 32)
        #expect((0..<found).allSatisfy { TierHarness.number(lease.address($0)) == UInt64($0) + 1 })
        lease.release()
        harness.fillDistinct(filler, blocks: 0..<1000, offset: 1 << 32)
        #expect(harness.read(filler, 999) == (1 << 32) + 999)
    }
}
