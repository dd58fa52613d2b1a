import Glibc
import ReadCache
import Syscalls
import Testing

@Suite struct MemoryTierTests {
    @Test func findsWhatWasFilled() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        harness.fill(file, 100, [7, 8, 9])
        #expect(harness.read(file, 99) == nil)
        #expect(harness.read(file, 100) == 7)
        #expect(harness.read(file, 102) == 9)
        #expect(harness.read(file, 103) == nil)
        let other = harness.tier.newFile()
        #expect(harness.read(other, 100) == nil)
        #expect(harness.tier.contains(file, block: 101))
        #expect(!harness.tier.contains(file, block: 103))
    }

    @Test func lookupStopsAtTheFirstMissingBlock() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        harness.fill(file, 10, [1, 0, 3])
        harness.fill(file, 14, [5])
        var lease = ReadLease()
        var zeros = 0
        let tier = harness.tier
        let found = tier.lookup(file, firstBlock: 10, count: 8, into: &lease, zeros: &zeros)
        #expect(found == 3)
        #expect(zeros == 1)
        #expect(lease.count == 3)
        #expect(TierHarness.number(lease.address(0)) == 1)
        #expect(TierHarness.number(lease.address(1)) == 0)
        #expect(TierHarness.number(lease.address(2)) == 3)
        let more = tier.lookup(file, firstBlock: 14, count: 1, into: &lease, zeros: &zeros)
        #expect(more == 1)
        #expect(TierHarness.number(lease.address(3)) == 5)
        lease.release()
        #expect(lease.count == 0)
    }

    @Test func leaseHoldsNoMoreThanItsCapacity() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        harness.fillDistinct(file, blocks: 0..<300, offset: 1)
        var lease = ReadLease()
        var zeros = 0
        let found = harness.tier.lookup(
            file, firstBlock: 0, count: 300, into: &lease, zeros: &zeros)
        #expect(found == ReadLease.capacity)
        #expect((0..<found).allSatisfy { TierHarness.number(lease.address($0)) == UInt64($0) + 1 })
    }

    @Test func sameContentsTakeOneFrame() throws {
        let harness = try TierHarness(mebibytes: 16)
        let files = (0..<5).map { _ in harness.tier.newFile() }
        for file in files { harness.fillDistinct(file, blocks: 0..<1000, offset: 1) }
        let statistics = harness.tier.statistics
        #expect(statistics.uniqueBlocks == 1000)
        #expect(statistics.framesInUse == 1000)
        #expect(statistics.cachedBlocks == 5000)
        #expect(statistics.mergedBlocks == 4000)
        var counts: [CacheID: Int] = [:]
        harness.tier.cachedBlocks { counts[$0] = $1 }
        #expect(counts == Dictionary(uniqueKeysWithValues: files.map { ($0, 1000) }))
        for file in files { #expect(harness.read(file, 999) == 1000) }
    }

    @Test func zeroBlocksTakeNoFrame() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        harness.fill(file, 0, [UInt64](repeating: 0, count: 700))
        let statistics = harness.tier.statistics
        #expect(statistics.framesInUse == 0)
        #expect(statistics.cachedBlocks == 0)
        #expect(statistics.zeroBlocks == 700)
        #expect(harness.read(file, 699) == 0)
        harness.tier.cachedBlocks { _, _ in Issue.record("zero blocks are not counted") }
    }

    @Test func manyZeroBlocksDoNotDisplaceContents() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        harness.fillDistinct(file, blocks: 0..<800, offset: 1)
        let sparse = harness.tier.newFile()
        let zeros = [UInt64](repeating: 0, count: 512)
        for block in stride(from: UInt64(0), to: 30_000, by: 512) {
            harness.fill(sparse, block, zeros)
        }
        #expect(harness.hits(sparse, 0..<30_000) == 30_000)
        for block in stride(from: UInt64(0), to: 1 << 21, by: 32) {
            harness.fill(sparse, block, [0])
        }
        let statistics = harness.tier.statistics
        #expect(harness.hits(file, 0..<800) == 800)
        #expect(statistics.bookkeepingBytes < 1 << 17)
    }

    @Test func zeroBlocksAndContentsReplaceEachOther() throws {
        let harness = try TierHarness(mebibytes: 4)
        let tier = harness.tier
        let file = tier.newFile()
        harness.fill(file, 30, [0, 0, 0, 0])
        harness.fill(file, 31, [5, 6])
        #expect((30..<34).map { harness.read(file, $0) } == [0, 5, 6, 0])
        harness.fill(file, 30, [7, 0, 0, 8])
        #expect((30..<34).map { harness.read(file, $0) } == [7, 0, 0, 8])
        #expect(tier.statistics.zeroBlocks == 2)
        tier.endWrite(tier.beginWrite(file, firstBlock: 31, count: 1))
        #expect((30..<34).map { harness.read(file, $0) } == [7, nil, 0, 8])
        harness.fill(file, 64, [UInt64](repeating: 0, count: 64))
        tier.endWrite(tier.beginWrite(file, firstBlock: 32, count: 40))
        #expect(harness.hits(file, 0..<128) == 57)
        tier.endWrite(tier.beginWrite(file, firstBlock: 100, count: .max))
        #expect(harness.hits(file, 0..<128) == 29)
        #expect(tier.statistics.zeroBlocks == 28)
        tier.dropFile(file)
        #expect(tier.statistics.zeroBlocks == 0)
    }

    @Test func aWriteTakesItsRangeOut() throws {
        let harness = try TierHarness(mebibytes: 4)
        let tier = harness.tier
        let file = tier.newFile()
        harness.fillDistinct(file, blocks: 0..<600, offset: 1)
        let ticket = tier.beginWrite(file, firstBlock: 100, count: 200)
        #expect(harness.hits(file, 0..<600) == 400)
        tier.endWrite(ticket)
        #expect(harness.read(file, 100) == nil)
        #expect(harness.read(file, 99) == 100)
        #expect(harness.read(file, 300) == 301)
        tier.endWrite(tier.beginWrite(file, firstBlock: 400, count: .max))
        #expect(harness.hits(file, 0..<600) == 200)
        tier.endWrite(tier.beginWrite(file, firstBlock: 0, count: 1 << 40))
        #expect(harness.hits(file, 0..<600) == 0)
    }

    @Test func droppedFilesLeaveNoTrace() throws {
        let harness = try TierHarness(mebibytes: 4)
        var file = harness.tier.newFile()
        for _ in 0..<1200 {
            harness.fillDistinct(file, blocks: 0..<64, offset: 1)
            harness.tier.dropFile(file)
            file = harness.tier.newFile()
        }
        let statistics = harness.tier.statistics
        #expect(statistics.cachedBlocks == 0)
        #expect(statistics.uniqueBlocks == 0)
        #expect(statistics.framesInUse == 64)
        #expect(statistics.bookkeepingBytes < 1 << 20)
    }

    @Test func refusesUnusableArguments() throws {
        let key = [UInt8](repeating: 1, count: 64)
        #expect(throws: Errno.invalid) {
            _ = try MemoryTier(budget: 4096, framesDescriptor: nil, key: key)
        }
        #expect(throws: Errno.invalid) {
            _ = try MemoryTier(budget: 4 << 20, framesDescriptor: nil, key: [1])
        }
    }

    @Test func blocksBeyondTheMapAreNotCached() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        harness.fill(file, (1 << 34) - 1, [5, 6])
        #expect(harness.read(file, (1 << 34) - 1) == 5)
        #expect(harness.read(file, 1 << 34) == nil)
        harness.fill(file, .max - 1, [5])
        #expect(harness.read(file, .max - 1) == nil)
        let ticket = harness.tier.beginWrite(file, firstBlock: .max - 1, count: 7)
        harness.tier.endWrite(ticket)
        let nobody = CacheID(rawValue: .max)
        harness.fill(nobody, 0, [5])
        #expect(harness.read(nobody, 0) == nil)
    }

    @Test func usesTheGivenMemory() throws {
        let descriptor = try SharedMemory.create(name: "frames", size: 4 << 20)
        defer { close(descriptor) }
        let tier = try MemoryTier(
            budget: 4 << 20, framesDescriptor: descriptor, key: [UInt8](repeating: 1, count: 64))
        let file = tier.newFile()
        let block = TierHarness.block(77)
        let ticket = tier.beginFill(file, firstBlock: 0, count: 1)
        block.withUnsafeBytes { bytes in
            if let base = bytes.baseAddress {
                tier.endFill(ticket, blocks: base, count: 1, pinned: false)
            }
        }
        var first: UInt64 = 0
        #expect(pread(descriptor, &first, 8, 0) == 8)
        #expect(first == 77)
    }
}

extension MemoryTier {
    /// Tells for each file how many of its blocks are in memory, zero blocks not counted.
    fileprivate func cachedBlocks(_ visit: (CacheID, Int) -> Void) {
        var counts: [CacheID: Int] = [:]
        forEachBlock { file, _, _ in counts[file, default: 0] += 1 }
        for (file, count) in counts { visit(file, count) }
    }
}
