import Devices
import FlashTier
import Glibc
import Synchronization
import Syscalls
import TestSupport
import Testing

/// What stays and what goes when the device is full, and how much is written meanwhile.
@Suite struct EvictionTests {
    /// Monotonic nanoseconds that stand still.
    private final class Clock: Sendable {
        let now = Atomic<UInt64>(1_000_000_000_000)

        func advance(_ nanoseconds: UInt64) { now.wrappingAdd(nanoseconds, ordering: .relaxed) }
    }

    private static let blocks = 1536
    private let clock = Clock()
    private let memory = BlockBuffer(blocks: 1)

    private func makeTier(writesPerDay: Double = 0) throws -> FlashTier<SimulatedDevice> {
        let device = SimulatedDevice(blocks: Self.blocks, seed: 1)
        try FlashFormat.format(device, regionBlocks: 16)
        return try open(device, nil, writesPerDay: writesPerDay)
    }

    private func open(
        _ device: SimulatedDevice, _ instance: UInt64?, writesPerDay: Double = 0
    ) throws -> FlashTier<SimulatedDevice> {
        let clock = clock
        let tier = try FlashTier(
            device,
            .init(
                owner: "test", lastInstance: instance, writesPerDay: writesPerDay,
                clock: { clock.now.load(ordering: .relaxed) }, remember: { _ in }))
        try tier.load()
        return tier
    }

    /// A guest reads a block: from flash, or from the datastore, which is offered then.
    private func use(
        _ tier: FlashTier<SimulatedDevice>, _ file: UInt64, _ block: UInt64, isReused: Bool = false
    ) -> Bool {
        if tier.read(file, block: block, into: memory) { return true }
        guard let ticket = tier.ticket(file, block: block), let base = memory.bytes.baseAddress
        else { return false }
        memset(base, 1, 4096)
        base.storeBytes(of: file, as: UInt64.self)
        base.storeBytes(of: block, toByteOffset: 8, as: UInt64.self)
        _ = tier.offer(
            file, block: block, ticket: ticket, base, isReused: isReused, sample: .still)
        return false
    }

    /// The log of a small device has no room for the records of so many.
    @Test func moreFilesThanTheLogHasRoomFor() throws {
        let tier = try makeTier()
        for file in UInt64(1)...6000 {
            _ = use(tier, file, 0, isReused: true)
            if file % 100 == 0 { tier.upkeep() }
        }
        #expect(tier.phase == .on)
        #expect((1...6000).count { tier.read($0, block: 0, into: memory) } > 100)
    }

    private func hits(
        _ tier: FlashTier<SimulatedDevice>, _ file: UInt64, _ blocks: Range<UInt64>
    ) -> Int {
        blocks.count { use(tier, file, $0) }
    }

    @Test func aScanLeavesTheHotSet() throws {
        let tier = try makeTier()
        let slots = tier.statistics.slots
        let hot = 0..<slots / 2
        _ = hits(tier, 1, hot)
        #expect(hits(tier, 1, hot) == hot.count)
        let before = tier.statistics.writtenBytes
        _ = hits(tier, 2, 0..<slots * 8)
        #expect(tier.statistics.passedOver > slots * 6)
        let found = hits(tier, 1, hot)
        print("hot set after a scan: \(Double(found) / Double(hot.count))")
        #expect(found * 10 >= hot.count * 9)
        // The scan filled what was never used, and nothing else.
        #expect(tier.statistics.writtenBytes - before < slots * 4096)
    }

    /// Twice the same scan is reuse: what is used between times stays all the same.
    @Test func aScanThatIsRepeatedLeavesWhatIsUsedMeanwhile() throws {
        let tier = try makeTier()
        let slots = tier.statistics.slots
        let hot = 0..<slots / 4
        _ = hits(tier, 1, hot)
        var scanned: UInt64 = 0
        for _ in 0..<2 {
            for block in 0..<slots * 4 {
                _ = use(tier, 2, block, isReused: true)
                scanned += 1
                // The hot set is used once for each quarter of the device that is scanned.
                _ = use(tier, 1, scanned % (slots / 4))
            }
        }
        let found = hits(tier, 1, hot)
        print("hot set after a repeated scan: \(Double(found) / Double(hot.count))")
        #expect(found * 10 >= hot.count * 9)
    }

    @Test func whatIsNotUsedMakesRoomForWhatIs() throws {
        let tier = try makeTier()
        let slots = tier.statistics.slots
        _ = hits(tier, 1, 0..<slots)
        for _ in 0..<8 { _ = hits(tier, 2, 0..<slots / 2) }
        #expect(hits(tier, 2, 0..<slots / 2) * 10 >= Int(slots / 2) * 9)
    }

    @Test func whatWasSeenOnceIsRememberedOverACleanStop() throws {
        // One in 256 is taken for known, by chance and by the device's key: then with another key.
        var attempts = 0
        var device: SimulatedDevice
        var first: FlashTier<SimulatedDevice>
        repeat {
            attempts += 1
            try #require(attempts <= 5)
            device = SimulatedDevice(blocks: Self.blocks, seed: 1)
            try FlashFormat.format(device, regionBlocks: 16)
            first = try open(device, nil)
        } while !passesOver(first)
        let slots = first.statistics.slots
        first.close()
        let tier = try open(device, first.instance)
        try #require(tier.statistics.stored == 0)
        _ = hits(tier, 2, 0..<slots / 8)
        #expect(tier.statistics.stored > slots / 8 / 2)
    }

    /// Fills the tier, and reads some more for the first time; whether all of that was passed over.
    private func passesOver(_ tier: FlashTier<SimulatedDevice>) -> Bool {
        let slots = tier.statistics.slots
        _ = hits(tier, 1, 0..<slots)
        let seen = tier.statistics.passedOver
        _ = hits(tier, 2, 0..<slots / 8)
        return tier.statistics.passedOver == seen + slots / 8
    }

    @Test func whatIsKeptStaysUnusedUpToHalfOfTheDevice() throws {
        let tier = try makeTier()
        let slots = tier.statistics.slots
        let kept = 0..<slots * 4 / 10
        tier.keep(1, true)
        for block in kept { _ = use(tier, 1, block, isReused: true) }
        #expect(tier.statistics.keptSlots == UInt64(kept.count))
        for block in 0..<slots * 6 { _ = use(tier, 2, block, isReused: true) }
        #expect(tier.statistics.keptSlots == UInt64(kept.count))
        #expect(kept.count { tier.lookup(1, block: $0) != nil } == kept.count)
        // Another one is too much: it is as any other, and the rest stays.
        tier.keep(3, true)
        for block in kept { _ = use(tier, 3, block, isReused: true) }
        #expect(tier.statistics.keptTooMany > 0)
        for block in slots * 6..<slots * 12 { _ = use(tier, 2, block, isReused: true) }
        let stayed =
            kept.count { tier.lookup(1, block: $0) != nil }
            + kept.count { tier.lookup(3, block: $0) != nil }
        #expect(stayed <= Int(slots / 2))
        #expect(stayed > Int(slots / 2) * 8 / 10)
        // Nothing is kept any more.
        tier.keep(1, false)
        tier.keep(3, false)
        #expect(tier.statistics.keptSlots == 0)
        for block in slots * 12..<slots * 18 { _ = use(tier, 2, block, isReused: true) }
        #expect(kept.count { tier.lookup(1, block: $0) != nil } < kept.count / 10)
    }

    /// Two days of a guest that reads anew what was never read, ten times as much as may be
    /// written.
    @Test func theWriteBudgetIsKept() throws {
        let writesPerDay = 2.0
        let tier = try makeTier(writesPerDay: writesPerDay)
        let slots = tier.statistics.slots
        var block: UInt64 = 0
        while tier.statistics.filledSlots < slots - 50, block < slots * 2 {
            _ = use(tier, 1, block, isReused: true)
            block += 1
        }
        // The first fill is free: it was not held up, though it is half a day's budget.
        #expect(tier.statistics.throttled == 0)
        #expect(tier.statistics.writtenBytes > slots * 4096 * 9 / 10)
        let size = Double(Self.blocks) * 4096
        let before = tier.statistics.writtenBytes
        let seconds = 2 * 86400
        let reads = Int(Double(Self.blocks) * writesPerDay * 2 * 10)
        for number in 0..<reads {
            _ = use(tier, 2, block, isReused: true)
            block += 1
            clock.advance(UInt64(seconds) * 1_000_000_000 / UInt64(reads))
            if number % 64 == 0 { tier.upkeep() }
        }
        let written = Double(tier.statistics.writtenBytes - before) / size / 2
        print("drive writes per day: \(written) of \(writesPerDay)")
        #expect(tier.statistics.throttled > 0)
        #expect(abs(written - writesPerDay) < writesPerDay / 10)
        #expect(abs(tier.statistics.writesPerDay - writesPerDay) < writesPerDay / 4)
        #expect(tier.statistics.totalWrittenBytes == tier.statistics.writtenBytes)
    }
}
