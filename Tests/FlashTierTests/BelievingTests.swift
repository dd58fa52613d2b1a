import Glibc
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import FlashTier

/// After a restart the map of a file counts if the file is as it was, or only the mount's own last
/// writes came since.
@Suite struct BelievingTests {
    private let device = SimulatedDevice(blocks: 1024, seed: 1)

    init() throws { try FlashFormat.format(device, regionBlocks: 64) }

    private func open(_ instance: UInt64?) throws -> FlashTier<SimulatedDevice> {
        try FlashTier(
            device, .init(owner: "test", lastInstance: instance, writesPerDay: 0) { _ in })
    }

    private func sample(_ milliseconds: Int64) -> FileSample {
        let part = UInt32(milliseconds % 1000) * 1_000_000
        return FileSample(
            size: 7, modifiedSeconds: milliseconds / 1000, modifiedNanoseconds: part,
            changedSeconds: milliseconds / 1000, changedNanoseconds: part)
    }

    private func store(_ tier: FlashTier<SimulatedDevice>, _ file: UInt64) throws {
        for block in UInt64(0)..<100 {
            let ticket = try #require(tier.ticket(file, block: block))
            Content.block(seed: file, number: block).withUnsafeBytes { bytes in
                _ = tier.offer(
                    file, block: block, ticket: ticket, bytes.baseAddress!, isReused: true,
                    sample: sample(5000))
            }
        }
    }

    private func found(_ tier: FlashTier<SimulatedDevice>, _ file: UInt64) -> Int {
        (0..<UInt64(100)).count { tier.lookup(file, block: $0) != nil }
    }

    /// Three files in an open tier; the second is being written where the map has nothing, the
    /// third where it has blocks.
    private func firstLife() throws -> FlashTier<SimulatedDevice> {
        let tier = try open(nil)
        try tier.load()
        for file in 1...UInt64(3) { try store(tier, file) }
        // Makes all of it durable but the open region.
        for block in UInt64(0)..<64 { #expect(tier.lookup(3, block: block) != nil) }
        for (file, block) in [(UInt64(2), UInt64(5000)), (3, 10)] {
            tier.endWrite(tier.beginWrite(file, firstBlock: block, count: 1))
        }
        #expect(Set(tier.markedFiles()) == [2, 3])
        for file in tier.markedFiles() { tier.sample(file, sample(6000)) }
        tier.upkeep()
        return tier
    }

    @Test func afterACrashTheMountsOwnLastWritesAreNoReasonToForget() throws {
        let instance = try firstLife().instance
        let tier = try open(instance)
        #expect(tier.mayBelieve(1, sample(5000)) == nil)
        try tier.load()
        // Nothing is found before it is believed.
        #expect(found(tier, 1) == 0)
        #expect(tier.mayBelieve(1, sample(5000)) == true)
        #expect(found(tier, 1) == 100)
        // Both were written when the mount died.
        #expect(tier.mayBelieve(2, sample(6000 + Limits.flashSampleSlack / 1_000_000)) == true)
        #expect(found(tier, 2) > 50)
        #expect(tier.mayBelieve(3, sample(7500)) == true)
        // What was in flight is lost, with its range.
        #expect(found(tier, 3) == 0)
        // A file without a map is believed.
        #expect(tier.mayBelieve(9, sample(1)) == true)
    }

    @Test(arguments: [
        (UInt64(1), Int64(5001)), (1, 4999), (2, 9001), (2, 5999), (3, 5000), (3, 1_000_000),
    ])
    func whatTheMountDidNotDoIsAReason(_ file: UInt64, _ time: Int64) throws {
        let tier = try open(try firstLife().instance)
        try tier.load()
        #expect(tier.mayBelieve(file, sample(time)) == false)
        #expect(found(tier, file) == 0)
        // Samples do not make it believed.
        tier.sample(file, sample(time))
        #expect(tier.mayBelieve(file, sample(time)) == false)
        // Nor does it take anything before it is dropped.
        try store(tier, file)
        #expect(found(tier, file) == 0)
        tier.dropFile(file)
        #expect(tier.mayBelieve(file, sample(time)) == true)
        try store(tier, file)
        #expect(found(tier, file) == 100)
    }

    @Test func afterACleanStopOnlyTheSameAttributesCount() throws {
        let first = try firstLife()
        first.close()
        let tier = try open(first.instance)
        try tier.load()
        #expect(!tier.wasInUse)
        #expect(tier.mayBelieve(2, sample(6001)) == false)
        #expect(tier.mayBelieve(3, sample(6000)) == true)
        #expect(found(tier, 3) == 99)
        #expect(tier.mayBelieve(1, sample(5000)) == true)
    }

    @Test func whatWasSeenBeforeTheFirstWriteCountsOnceItIsLoaded() throws {
        let tier = try open(try firstLife().instance)
        #expect(tier.mayBelieve(1, sample(5000)) == nil)
        tier.endWrite(tier.beginWrite(1, firstBlock: 5000, count: 1))
        #expect(tier.mayBelieve(1, sample(70_000)) == nil)
        // This one is asked about only after it was written.
        tier.endWrite(tier.beginWrite(2, firstBlock: 5000, count: 1))
        #expect(tier.mayBelieve(2, sample(6000)) == nil)
        try tier.load()
        #expect(tier.mayBelieve(1, sample(70_000)) == true)
        #expect(found(tier, 1) == 100)
        #expect(tier.mayBelieve(2, sample(70_000)) == false)
    }

    @Test func aFileThatNobodyAskedAboutMayStillBeBelievedTwoCrashesLater() throws {
        var instance = try firstLife().instance
        for round in 0..<3 {
            let tier = try open(instance)
            try tier.load()
            #expect(!tier.markedFiles().contains(2))
            if round == 1 { tier.close() } else { tier.upkeep() }
            instance = tier.instance
        }
        let tier = try open(instance)
        try tier.load()
        #expect(tier.mayBelieve(2, sample(7000)) == true)
        #expect(found(tier, 2) > 50)
    }

    @Test func aWriteAfterTheCloseMakesTheMapsVoid() throws {
        let remembered = FlashHarness.Remembered()
        let first = try FlashTier(
            device,
            .init(owner: "test", lastInstance: nil, writesPerDay: 0) { instance in
                remembered.instance.withLock { $0 = instance }
            })
        remembered.instance.withLock { $0 = first.instance }
        try first.load()
        try store(first, 1)
        first.close()
        #expect(remembered.instance.withLock { $0 } == first.instance)
        #expect(found(first, 1) == 0)
        first.endWrite(first.beginWrite(1, firstBlock: 3, count: 1))
        #expect(remembered.instance.withLock { $0 } == nil)
    }
}
