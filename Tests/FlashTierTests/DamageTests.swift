import FlashTier
import Glibc
import Syscalls
import TestSupport
import Testing

/// Devices that lose bits, are exchanged, made anew, made shorter, or fail: never a wrong byte.
@Suite(.serialized) struct DamageTests {
    private static let cases: UInt64 = SimulationTests.isLong ? 10_000 : 200

    private func makeDevice(_ seed: UInt64) throws -> SimulatedDevice {
        let device = SimulatedDevice(
            blocks: SimulationTests.blocks, seed: seed, logicalBlockSize: 512)
        try FlashFormat.format(device, regionBlocks: 8)
        return device
    }

    /// A tier that has been used for a while.
    private func used(_ seed: UInt64, steps: Int = 150) throws -> FlashHarness {
        let harness = try FlashHarness(try makeDevice(seed), seed: seed)
        try harness.load()
        for _ in 0..<steps { harness.step() }
        return harness
    }

    @Test func bitsThatFlipAfterACleanStop() throws {
        var (before, after, damaged) = (0, 0, UInt64(0))
        for seed in 0..<Self.cases {
            let harness = try used(seed)
            before += harness.checkAll()
            harness.close()
            for _ in 0...seed % 8 {
                _ = harness.device.flipBit(in: 0...UInt64(SimulationTests.blocks))
            }
            do {
                try harness.reopen()
            } catch let error as Errno where error == .invalid {
                // Both headers were hit.
                continue
            }
            after += harness.checkAll()
            damaged += harness.tier.statistics.damaged
            #expect(harness.wrong == [], "seed \(seed)")
        }
        #expect(damaged > 0, "no flipped bit was in a content")
        #expect(after * 2 > before, "\(after) of \(before)")
        #expect(after < before)
    }

    /// Whichever block it is in: there is none that all of the map, or of a file's, depends on.
    @Test func noSingleBitTakesMuch() throws {
        let harness = try used(1, steps: 300)
        harness.close()
        let device = harness.device.withState { $0 }
        let regions = SimulationTests.blocks - 8 * 8
        func found(_ damaged: UInt64?) throws -> Int {
            let copy = SimulatedDevice(
                device, blocks: SimulationTests.blocks, seed: 1, logicalBlockSize: 512)
            if let damaged { _ = copy.flipBit(in: damaged...damaged) }
            let next = try FlashHarness(copy, harness.surroundings, seed: 1)
            try next.load()
            defer { #expect(next.wrong == [], "block \(damaged ?? 0)") }
            return next.checkAll()
        }
        let before = try found(nil)
        #expect(before > 40)
        for block in device.durable.keys.sorted() {
            let rest = try found(block)
            if block < regions {
                #expect(rest == before, "block \(block)")
            } else {
                #expect(rest * 2 > before, "block \(block)")
            }
        }
    }

    @Test func aBitThatFlipsAfterAKill() throws {
        var warm = 0
        for seed in 0..<Self.cases {
            let harness = try used(seed)
            _ = harness.device.flipBit(in: 0...UInt64(SimulationTests.blocks))
            try harness.reopen()
            if harness.checkAll() > 0 { warm += 1 }
            #expect(harness.wrong == [], "seed \(seed)")
        }
        #expect(warm * 2 > Self.cases)
    }

    @Test func filesChangedWhileTheMountWasDown() throws {
        var found = 0
        for seed in 0..<Self.cases {
            let harness = try used(seed)
            if seed % 2 == 0 { harness.close() } else { harness.sampleWritten() }
            _ = harness.foreignChange()
            try harness.reopen()
            found += harness.checkAll()
            #expect(harness.wrong == [], "seed \(seed)")
        }
        #expect(found > 0)
    }

    @Test func aDeviceThatTheMountDoesNotRememberKeepsItsContentsAndLosesItsMaps() throws {
        var found = 0
        for seed in 0..<Self.cases / 10 {
            let harness = try used(seed)
            harness.close()
            let filled = harness.tier.statistics.filledSlots
            harness.forgetInstance()
            for _ in 0..<20 { _ = harness.foreignChange() }
            try harness.reopen()
            #expect(harness.checkAll() == 0)
            #expect(harness.tier.statistics.filledSlots == filled)
            for _ in 0..<100 { harness.step() }
            #expect(harness.tier.statistics.shared > 0)
            harness.tier.upkeep()
            // Killed before anything else: what counts now is the new map.
            try harness.reopen()
            found += harness.checkAll()
            #expect(harness.wrong == [], "seed \(seed)")
        }
        #expect(found > 0)
    }

    @Test func aDeviceMadeAnewIsEmpty() throws {
        for seed in 0..<Self.cases / 10 {
            let harness = try used(seed)
            if seed % 2 == 0 { harness.close() }
            try FlashFormat.format(harness.device, regionBlocks: 8)
            try harness.reopen()
            #expect(harness.checkAll() == 0)
            #expect(harness.tier.statistics.filledSlots == 0)
            for _ in 0..<100 { harness.step() }
            #expect(harness.hits > 0)
            #expect(harness.wrong == [], "seed \(seed)")
        }
    }

    @Test func whatBelongsToAnotherMountIsRefused() throws {
        let harness = try used(1)
        harness.close()
        #expect(throws: Errno.busy) {
            _ = try FlashTier(
                harness.device, .init(owner: "other", lastInstance: nil, remember: { _ in }))
        }
    }

    @Test func aShorterDeviceIsRefusedAndAnUnformattedOneToo() throws {
        let harness = try used(2)
        harness.close()
        let state = harness.device.withState { $0 }
        let shorter = SimulatedDevice(
            state, blocks: SimulationTests.blocks - 1, seed: 1, logicalBlockSize: 512)
        #expect(throws: Errno.noSpace) {
            _ = try FlashTier(shorter, .init(owner: "test", lastInstance: nil, remember: { _ in }))
        }
        let blank = SimulatedDevice(blocks: 300, seed: 1)
        #expect(throws: Errno.invalid) {
            _ = try FlashTier(blank, .init(owner: "test", lastInstance: nil, remember: { _ in }))
        }
        #expect(throws: Errno.noSpace) {
            try FlashFormat.format(SimulatedDevice(blocks: 100, seed: 1), regionBlocks: 8)
        }
    }

    @Test func aDeviceThatDiesIsForgottenBeforeTheNextWrite() throws {
        for seed in 0..<Self.cases / 10 {
            let harness = try used(seed)
            harness.device.withState { $0.isDead = true }
            for _ in 0..<60 { harness.step() }
            #expect(harness.wrong == [])
            // It is there again at the next start, with what it had.
            harness.device.restart()
            try harness.reopen()
            _ = harness.checkAll()
            #expect(harness.wrong == [], "seed \(seed)")
        }
    }

    @Test func aDeviceThatFailsNowAndThen() throws {
        var hits = 0
        for seed in 0..<Self.cases / 10 {
            let harness = try used(seed)
            harness.device.withState { $0.failureOdds = 40 }
            for _ in 0..<60 { harness.step() }
            harness.device.restart()
            hits += harness.hits
            try harness.reopen()
            _ = harness.checkAll()
            #expect(harness.wrong == [], "seed \(seed)")
        }
        #expect(hits > 0)
    }
}
