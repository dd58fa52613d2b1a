import Glibc
import ReadCache
import Syscalls
import Testing

/// Frames and bookkeeping together stay within the budget, whatever the load.
@Suite struct BudgetTests {
    @Test(arguments: [4, 16, 40])
    func distinctContentsTakeAtMost64BytesOfBookkeeping(mebibytes: Int) throws {
        let harness = try TierHarness(mebibytes: mebibytes)
        let file = harness.tier.newFile()
        let frames = UInt64(harness.tier.statistics.frameCapacity)
        harness.fillDistinct(file, blocks: 0..<(frames * 3), offset: 1)
        let statistics = harness.tier.statistics
        #expect(statistics.cachedBlocks >= statistics.frameCapacity * 98 / 100)
        let bytes = Double(statistics.bookkeepingBytes) / Double(statistics.cachedBlocks)
        print("bookkeeping at \(mebibytes) MiB: \(bytes) bytes for each block")
        // A small tier pays for whole pages and minimal tables; from 16 MiB on the figure holds.
        if mebibytes >= 16 { #expect(bytes <= 64) }
        expectWithinBudget(statistics)
        // What the kernel says of its pages.
        let taken = harness.tier.takenBytes
        #expect((taken.shared + taken.own) * 100 <= statistics.budget * 105)
        #expect(taken.shared >= statistics.framesInUse * 4096)
        #expect(taken.own > 0)
    }

    @Test func randomLoadStaysWithinTheBudget() throws {
        let descriptor = try SharedMemory.create(name: "frames", size: 16 << 20)
        defer { close(descriptor) }
        let tier = try MemoryTier(
            budget: 16 << 20, framesDescriptor: descriptor, key: [UInt8](repeating: 9, count: 64))
        let harness = TierHarness(tier: tier)
        let files = (0..<40).map { _ in tier.newFile() }
        var generator = SeededGenerator(state: 11)
        for round in 0..<6000 {
            let file = files[Int.random(in: 0..<40, using: &generator)]
            let block = UInt64.random(in: 0..<4000, using: &generator)
            if round % 5 == 0 {
                tier.endWrite(tier.beginWrite(file, firstBlock: block, count: 16))
            } else {
                // Every file has nearly the same contents: the map outgrows the frames.
                let different = generator.next() % 8 == 0 ? UInt64(file.rawValue) << 40 : 0
                harness.fill(file, block, (block..<(block + 16)).map { $0 + 1 + different })
            }
            if round % 500 == 0 { expectWithinBudget(tier.statistics) }
        }
        let statistics = tier.statistics
        expectWithinBudget(statistics)
        #expect(statistics.cachedBlocks > 5 * statistics.uniqueBlocks)
        var status = stat()
        #expect(fstat(descriptor, &status) == 0)
        // A quarter of the bookkeeping at most is not in this memory.
        let resident = Int(status.st_blocks) * 512 + statistics.bookkeepingBytes / 4
        print("resident: \(Double(resident) / Double(16 << 20)) of the budget")
        #expect(resident * 100 <= (16 << 20) * 105)
    }

    @Test func aPopulatedMemoryShrinksToTheBudget() throws {
        let descriptor = try SharedMemory.create(name: "frames", size: 16 << 20)
        defer { close(descriptor) }
        let populated = try SharedMemory(descriptor: descriptor, populated: true)
        let tier = try MemoryTier(
            budget: 16 << 20, framesDescriptor: descriptor, key: [UInt8](repeating: 9, count: 64))
        let harness = TierHarness(tier: tier)
        // Two hundred copies: the map needs much more than the frames.
        for _ in 0..<200 {
            harness.fillDistinct(tier.newFile(), blocks: 0..<1000, offset: 1)
        }
        let statistics = tier.statistics
        var status = stat()
        #expect(fstat(descriptor, &status) == 0)
        #expect(Int(status.st_blocks) * 512 + statistics.bookkeepingBytes / 4 <= 16 << 20)
        #expect(statistics.bookkeepingBytes > 3 << 20)
        #expect(statistics.cachedBlocks == 200_000)
        withExtendedLifetime(populated) {}
    }

    @Test func theMapLeavesHalfOfTheBudget() throws {
        let harness = try TierHarness(mebibytes: 2)
        for _ in 0..<400 {
            harness.fillDistinct(harness.tier.newFile(), blocks: 0..<250, offset: 1)
        }
        let statistics = harness.tier.statistics
        expectWithinBudget(statistics)
        #expect(statistics.bookkeepingBytes <= 1 << 20 + 1 << 17)
        #expect(statistics.frameCapacity >= 200)
    }

    private func expectWithinBudget(_ statistics: MemoryTierStatistics) {
        let used = statistics.framesInUse * 4096 + statistics.bookkeepingBytes
        #expect(used * 100 <= statistics.budget * 105)
        #expect(statistics.framesInUse <= statistics.frameCapacity)
    }
}

extension TierHarness {
    init(tier: MemoryTier) { self.tier = tier }
}
