import Glibc
import Journal
import Policy
import Syscalls
import TestSupport
import Testing

/// The log on a simulated device: whatever happens at whichever write, what was acknowledged is
/// there as far as it was promised, and nothing else is.
@Suite struct LogSimulationTests {
    static let isLong = getenv("FOREBAY_TEST_LONG") != nil

    /// Operations with a crash every now and then, until so many have happened.
    private func life(of harness: LogHarness, crashes: Int, _ generator: inout SplitMix64) {
        while harness.crashes < crashes, harness.wrong.isEmpty {
            let crash: SimulatedLogDevice.Crash = Bool.random(using: &generator) ? .kill : .powerCut
            harness.device.crash(crash, after: Int.random(in: 1..<30, using: &generator))
            while harness.step() {}
            harness.recover(crash, latePoint: Int.random(in: 0..<3, using: &generator))
        }
    }

    @Test func whatIsAppendedIsThereAgain() throws {
        let harness = try LogHarness(seed: 1)
        for _ in 0..<300 where !harness.step() { Issue.record("a step failed") }
        harness.readAll()
        #expect(harness.kept.count > 3)
        harness.device.stop(.kill)
        harness.recover(.kill, latePoint: 0)
        #expect(harness.wrong == [])
        #expect(harness.kept.count > 3)
    }

    @Test func crashesAtAnyWrite() throws {
        // The short form is the same each time, as that of destaging.
        var generator = SplitMix64.announced(usual: Self.isLong ? nil : 512_075_022)
        var (crashes, cut, appended, full) = (0, 0, 0, 0)
        while crashes < (Self.isLong ? 200_000 : 6800) {
            let seed = generator.next()
            let sector: UInt32 = seed % 3 == 0 ? 4096 : 512
            let harness = try LogHarness(
                seed: seed, sector: sector, hasVolatileCache: seed % 5 != 0)
            life(of: harness, crashes: 20, &generator)
            guard harness.wrong.isEmpty else {
                Issue.record("seed \(seed): \(harness.wrong)")
                return
            }
            crashes += harness.crashes
            cut += harness.cutRecords
            appended += harness.appended
            full += harness.fullMoments
        }
        print("crashes: \(crashes), records: \(appended), lost un-flushed: \(cut), full: \(full)")
        #expect(cut > 0)
        #expect(full > 0)
    }

    /// The model must see what a device that does not flush loses.
    @Test func aDeviceThatIgnoresFlushesIsFoundOut() throws {
        var generator = SplitMix64(seed: 5)
        var found = 0
        for seed in 0..<20 {
            let harness = try LogHarness(seed: UInt64(seed), ignoresFlushes: true)
            life(of: harness, crashes: 10, &generator)
            if harness.wrong.contains(where: { $0.contains("records are there") }) { found += 1 }
        }
        #expect(found > 10)
    }
}
