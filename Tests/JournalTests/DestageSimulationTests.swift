import Glibc
import TestSupport
import Testing

/// Changes, destaging, crashes of the process and of the machine at every write to the log device
/// and to the datastore, and what is there afterwards.
@Suite struct DestageSimulationTests {
    private struct Sum {
        var crashes = 0
        var counts: [String: Int] = [:]
        var wrong: [String] = []
    }

    /// One world with so many crashes.
    private func run(
        seed: UInt64, isStrict: Bool, crashes: Int, ignoresSync: Bool = false, _ sum: inout Sum
    ) throws {
        var generator = SplitMix64(seed: seed)
        let world = try DestageWorld(seed: seed, isStrict: isStrict, ignoresSync: ignoresSync)
        // In some lives the log becomes full.
        let isLong = seed % 16 == 0
        let reach = isLong ? 400 : 30
        for _ in 0..<(isLong ? 3 : crashes) where world.wrong.isEmpty {
            let powerCut = Bool.random(using: &generator)
            let kind: SimulatedLogDevice.Crash = powerCut ? .powerCut : .kill
            world.device.withState { $0.crash = kind }
            let after = Int.random(in: 1..<reach, using: &generator)
            if Bool.random(using: &generator) {
                world.device.crash(kind, after: after)
            } else {
                world.datastore.withState { $0.crashAt = $0.calls + after }
            }
            world.live(steps: 5 * reach)
            guard world.wrong.isEmpty else { break }
            if !world.isCrashed { world.device.stop(kind) }
            sum.crashes += 1
            try world.recover(powerCut: powerCut)
        }
        if world.wrong.isEmpty { world.goHome() }
        sum.counts.merge(world.counts) { $0 + $1 }
        sum.wrong += world.wrong.map {
            "\($0): repeat with FOREBAY_TEST_SEED=\(seed)"
        }
    }

    private func runs(isStrict: Bool, short: Int, long: Int) throws -> Sum {
        let isLong = getenv("FOREBAY_TEST_LONG") != nil
        let given = getenv("FOREBAY_TEST_SEED").flatMap { UInt64(String(cString: $0)) }
        // The short form is the same each time, so that it tells what a change has broken; `make
        // soak` looks for more.
        let first = given ?? (isLong ? UInt64.random(in: 0..<1_000_000_000) : 1)
        var sum = Sum()
        for number in 0..<UInt64(given != nil ? 1 : isLong ? long : short) {
            try run(seed: first &+ number, isStrict: isStrict, crashes: 10, &sum)
            if sum.wrong.count > 3 { break }
        }
        print("strict \(isStrict): \(sum.crashes) crashes, from seed \(first); \(sum.counts)")
        return sum
    }

    @Test func nothingThatWasAcknowledgedIsLost() throws {
        let sum = try runs(isStrict: false, short: 240, long: 60_000)
        #expect(sum.wrong == [])
        #expect(sum.crashes >= 10)
        #expect(sum.counts["epochs", default: 0] > sum.crashes / 10)
        #expect(sum.counts["changes", default: 0] > sum.crashes)
        #expect(sum.counts["parked", default: 0] > sum.crashes / 50)
    }

    @Test func inStrictOrderTheDatastoreIsAlwaysAsItOnceWas() throws {
        let sum = try runs(isStrict: true, short: 100, long: 40_000)
        #expect(sum.wrong == [])
        #expect(sum.crashes >= 10)
        #expect(sum.counts["moments", default: 0] > sum.crashes)
    }

    @Test func aDestagerThatForgetsToSyncIsFound() throws {
        var (right, wrong) = (Sum(), Sum())
        for seed in UInt64(0)..<3 {
            try run(seed: seed, isStrict: false, crashes: 10, &right)
            try run(seed: seed, isStrict: false, crashes: 10, ignoresSync: true, &wrong)
        }
        #expect(right.wrong == [])
        #expect(wrong.wrong.contains { $0.contains("is not durable") })
    }
}
