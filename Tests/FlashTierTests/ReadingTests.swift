import Devices
import Glibc
import Syscalls
import TestSupport
import Testing

@testable import FlashTier

/// Runs of blocks in one read; what is damaged costs itself and no more.
@Suite struct ReadingTests {
    private let device = SimulatedDevice(blocks: 1024, seed: 1)
    private let tier: FlashTier<SimulatedDevice>
    private let memory = BlockBuffer(blocks: 64)

    init() throws {
        try FlashFormat.format(device, regionBlocks: 64)
        tier = try FlashTier(
            device, .init(owner: "test", lastInstance: nil, writesPerDay: 0) { _ in })
        try tier.load()
    }

    private func content(_ block: UInt64) -> [UInt8] {
        block == 20
            ? [UInt8](repeating: 0, count: 4096) : Content.block(seed: 3, number: block)
    }

    /// Stores the blocks of a file in their order.
    private func store(_ blocks: Range<UInt64>) throws {
        for block in blocks {
            let ticket = try #require(tier.ticket(1, block: block))
            content(block).withUnsafeBytes { bytes in
                _ = tier.offer(
                    1, block: block, ticket: ticket, bytes.baseAddress!, isReused: true,
                    sample: .still)
            }
        }
    }

    /// Leading blocks that are found and good, and the device's reads that it took.
    private func read(_ first: UInt64, _ count: Int) -> (found: Int, good: Int, reads: Int) {
        let before = device.withState { $0.reads }
        let (found, good) = withUnsafeTemporaryAllocation(
            of: FlashAddress.self, capacity: count
        ) { room in
            let found = tier.lookup(1, firstBlock: first, into: room)
            let part = UnsafeBufferPointer(rebasing: room[..<found])
            return (found, tier.read(part, into: memory.bytes.baseAddress!))
        }
        for index in 0..<good {
            #expect(Array(memory.block(index)) == content(first + UInt64(index)))
        }
        return (found, good, device.withState { $0.reads } - before)
    }

    private func place(_ block: UInt64) throws -> UInt64 {
        let slot = try #require(tier.slot(1, block: block))
        return tier.geometry.offset(ofSlot: slot) / 4096
    }

    @Test func neighboursAreReadAtOnce() throws {
        // More than a region, which has 63 slots: the first is on the device, the second is not.
        try store(0..<90)
        #expect(tier.blocks(of: 1) == 89)
        // A block of zeros lies between.
        #expect(read(0, 40) == (40, 40, 2))
        #expect(read(30, 30) == (30, 30, 1))
        // Up to the end of the region, and on in memory.
        #expect(read(50, 30) == (30, 30, 1))
        #expect(read(80, 20) == (10, 10, 0))
        #expect(read(90, 5) == (0, 0, 0))
        #expect(tier.statistics.hits == 110)
        #expect(tier.slot(1, block: 20) == nil)
        #expect(tier.lookup(1, block: 20)?.isZero == true)
    }

    @Test func aBlockThatIsDamagedEndsTheRunAndIsDropped() throws {
        try store(0..<90)
        let bad = try place(25)
        _ = device.flipBit(in: bad...bad)
        #expect(read(21, 10) == (10, 4, 1))
        #expect(tier.statistics.damaged == 1)
        #expect(read(21, 10) == (4, 4, 1))
        #expect(read(26, 10) == (10, 10, 1))
        #expect(tier.statistics.damaged == 1)
        // It is taken again, and stored elsewhere.
        try store(25..<26)
        #expect(read(21, 10) == (10, 10, 2))
        #expect(try place(25) != bad)
    }

    @Test func aBlockThatTheDeviceDoesNotReadCostsNoOther() throws {
        try store(0..<90)
        let bad = try place(25)
        device.withState { _ = $0.badBlocks.insert(bad) }
        #expect(read(21, 10) == (10, 4, 6))
        #expect(tier.statistics.errors == 1)
        #expect(read(26, 10) == (10, 10, 1))
        #expect(read(21, 10) == (4, 4, 1))
        #expect(tier.statistics.errors == 1)
        #expect(tier.phase == .on)
    }

    @Test func whatMadeRoomEndsTheRun() throws {
        try store(0..<90)
        let write = tier.beginWrite(1, firstBlock: 30, count: 2)
        tier.endWrite(write)
        #expect(read(25, 20).found == 5)
        #expect(read(32, 20).found == 20)
        #expect(tier.blocks(of: 1) == 87)
        tier.dropFile(1)
        #expect(read(0, 20).found == 0)
        #expect(tier.blocks(of: 1) == 0)
    }
}

extension FileSample {
    /// Of a file that nobody changes.
    static let still = FileSample(
        size: 1, modifiedSeconds: 2, modifiedNanoseconds: 3, changedSeconds: 4,
        changedNanoseconds: 5)
}
