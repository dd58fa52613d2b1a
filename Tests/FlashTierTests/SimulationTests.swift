import FlashTier
import Glibc
import Synchronization
import Syscalls
import TestSupport
import Testing

/// The tier on a simulated device: whatever happens to the device, no wrong byte is returned.
@Suite(.serialized) struct SimulationTests {
    /// Blocks of the simulated devices: eight regions of eight blocks behind everything else.
    static let blocks = 32 + 16 + 128 + 8 * 8
    static let isLong = getenv("FOREBAY_TEST_LONG") != nil

    private func harness(_ seed: UInt64, sector: UInt32 = 512) throws -> FlashHarness {
        let device = SimulatedDevice(blocks: Self.blocks, seed: seed, logicalBlockSize: sector)
        try FlashFormat.format(device, regionBlocks: 8)
        let harness = try FlashHarness(device, seed: seed)
        try harness.load()
        return harness
    }

    @Test func whatIsStoredIsFound() throws {
        let harness = try harness(1)
        for _ in 0..<600 { harness.step() }
        #expect(harness.wrong == [])
        #expect(harness.hits > 50)
        let found = harness.checkAll()
        harness.close()
        try harness.reopen()
        #expect(harness.checkAll() == found)
        #expect(found > 20)
        #expect(harness.wrong == [])
    }

    /// Records a history, then cuts the power behind each of its writes, several times with other
    /// parts of what was not flushed lost, and looks at every block.
    @Test func aPowerCutAtEveryWrite() throws {
        var cuts = 0
        var warm = 0
        var seed: UInt64 = 0
        let wanted = Self.isLong ? 100_000 : 4000
        while cuts < wanted {
            seed += 1
            let sector: UInt32 = seed % 2 == 0 ? 512 : 4096
            for moment in try history(seed, sector) {
                for chance in 0..<UInt64(4) {
                    let (harness, hits) = try afterPowerCut(moment, chance, sector)
                    guard harness.wrong.isEmpty else {
                        let name = "seed \(seed), write \(moment.device.writes), chance \(chance)"
                        Issue.record("\(name): \(harness.wrong)")
                        return
                    }
                    cuts += 1
                    if hits > 0 { warm += 1 }
                }
            }
        }
        print("power cuts: \(cuts), warm afterwards: \(warm)")
        #expect(warm * 2 > cuts)
    }

    private struct Moment: Sendable {
        let device: SimulatedDevice.State
        let surroundings: FlashHarness.Surroundings
    }

    /// What is there behind each write of a device, from before the first load on.
    private func history(_ seed: UInt64, _ sector: UInt32) throws -> [Moment] {
        let device = SimulatedDevice(blocks: Self.blocks, seed: seed, logicalBlockSize: sector)
        try FlashFormat.format(device, regionBlocks: 8)
        let harness = try FlashHarness(device, seed: seed)
        let moments = Mutex<[Moment]>([])
        let surroundings = Mutex(harness.surroundings)
        device.withState { state in
            state.observer = { state in
                let around = surroundings.withLock { $0 }
                moments.withLock { $0.append(Moment(device: state, surroundings: around)) }
            }
        }
        harness.onChange = { around in surroundings.withLock { $0 = around } }
        try harness.load()
        for round in 0..<3 {
            for _ in 0..<120 { harness.step() }
            if round == 1 { harness.close() }
            try harness.reopen { harness in
                for _ in 0..<5 { harness.step() }
            }
        }
        #expect(harness.wrong == [])
        return moments.withLock { $0 }
    }

    private func afterPowerCut(
        _ moment: Moment, _ chance: UInt64, _ sector: UInt32
    ) throws -> (FlashHarness, Int) {
        let device = SimulatedDevice(
            moment.device, blocks: Self.blocks,
            seed: chance &* 7919 &+ UInt64(moment.device.writes),
            logicalBlockSize: sector)
        device.cutPower()
        device.restart()
        let harness = try FlashHarness(device, moment.surroundings, seed: chance)
        try harness.load()
        return (harness, harness.checkAll())
    }
}
