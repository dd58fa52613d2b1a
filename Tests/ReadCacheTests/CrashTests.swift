import Glibc
import ReadCache
import Synchronization
import Syscalls
import TestSupport
import Testing

/// The memory as a server leaves it that dies between any two of its instructions: threads that use
/// the tier are stopped where they are, and another tier takes a copy over.
@Suite(.serialized) struct CrashTests {
    private static let files = 6
    private static let blocks: UInt64 = 500

    @Test(arguments: [(UInt64(1), MemoryTier.mostGenerations), (2, 4)])
    func noCrashGivesAWrongByte(seed: UInt64, generations: UInt32) throws {
        let rounds = getenv("FOREBAY_TEST_LONG") == nil ? 20 : 2000
        let load = try CrashLoad(
            seed: seed, generations: generations, files: Self.files, blocks: Self.blocks,
            pins: true)
        defer { load.stop() }
        var generator = SeededGenerator(state: seed)
        var (hits, interrupted) = (0, 0)
        for _ in 0..<rounds {
            usleep(UInt32.random(in: 0..<3000, using: &generator))
            let image = try load.image()
            interrupted += image.changesUnderWay > 0 ? 1 : 0
            hits += try expectRight(image, generations)
        }
        load.stop()
        print("hits after \(rounds) crashes: \(hits)")
        #expect(load.wrong == 0)
        #expect(hits > rounds * 200)
        #expect(interrupted * 20 > rounds, "changes were under way")
    }

    /// Only what was being changed may be lost.
    @Test func whatNobodyTouchesSurvives() throws {
        let load = try CrashLoad(
            seed: 5, generations: MemoryTier.mostGenerations, files: Self.files, blocks: 40,
            pins: false)
        defer { load.stop() }
        for _ in 0..<40 {
            usleep(500)
            let image = try load.image()
            try image.memory.withTier(budget: CrashLoad.budget, survivors: load.ids) { harness in
                #expect(harness.hits(load.calmFile, 0..<CrashLoad.calmBlocks) == 200)
            }
        }
    }

    /// Reads everything at once, again when new contents may come, and again under pressure.
    private func expectRight(_ image: CrashImage, _ generations: UInt32) throws -> Int {
        try image.memory.withTier(
            budget: CrashLoad.budget, survivors: image.ids, generations: generations
        ) { harness in
            let first = check(harness, image)
            harness.tier.waitUntilReady()
            _ = check(harness, image)
            #expect(harness.tier.statistics.damagedBlocks == 0)
            // Half of it is written anew, which must not bring back anything.
            for (file, id) in image.ids.dropLast().enumerated() {
                let count = Self.blocks / 2
                harness.tier.endWrite(harness.tier.beginWrite(id, firstBlock: 0, count: count))
                for block in 0..<count { image.versions[file * Int(Self.blocks) + Int(block)] += 1 }
                harness.fill(id, 0, (0..<64).map { image.number(file, $0) })
            }
            _ = check(harness, image)
            let other = harness.tier.newFile()
            harness.fillDistinct(other, blocks: 0..<1000, offset: 1 << 40)
            for block in 0..<1000 as Range<UInt64> {
                if let found = harness.read(other, block) { #expect(found == block + 1 << 40) }
            }
            _ = check(harness, image)
            for id in image.ids { harness.tier.dropFile(id) }
            harness.tier.evictAll()
            let statistics = harness.tier.statistics
            #expect(statistics.framesInUse == 0, "nobody holds anything")
            return first
        }
    }

    private func check(_ harness: TierHarness, _ image: CrashImage) -> Int {
        var hits = 0
        for (file, id) in image.ids.dropLast().enumerated() {
            for block in 0..<Self.blocks {
                guard let found = harness.read(id, block) else { continue }
                #expect(found == image.number(file, block))
                hits += 1
            }
        }
        return hits
    }
}
