import Glibc
import Policy
import ReadCache
import Syscalls
import Testing

/// A tier takes over what the one before it left in the memory.
@Suite struct AdoptionTests {
    @Test(arguments: [4, 72])
    func everythingIsFoundAgain(mebibytes: Int) throws {
        let memory = try TierMemory()
        let budget = mebibytes << 20
        var files: [CacheID] = []
        let blocks = UInt64(mebibytes) * 100
        let before = try memory.withTier(budget: budget) { harness in
            files = (0..<3).map { _ in harness.tier.newFile() }
            for file in files { harness.fillDistinct(file, blocks: 0..<blocks, offset: 1) }
            harness.fill(files[0], blocks + 50, [0, 0, 0, 7])
            harness.tier.endWrite(harness.tier.beginWrite(files[1], firstBlock: 10, count: 20))
            return harness.tier.statistics
        }
        try memory.withTier(budget: budget, survivors: files) { harness in
            // At once, before anything was made again.
            #expect(harness.hits(files[0], 0..<blocks) == Int(blocks))
            #expect(harness.hits(files[1], 0..<blocks) == Int(blocks) - 20)
            #expect((0..<blocks).allSatisfy { harness.read(files[2], $0) == $0 + 1 })
            #expect(harness.hits(files[0], (blocks + 50)..<(blocks + 54)) == 4)
            harness.tier.waitUntilReady()
            var after = harness.tier.statistics
            #expect(after.damagedBlocks == 0)
            after.mergedBlocks = before.mergedBlocks
            #expect(after == before)
            #expect(harness.tier.life == 2)
            // What comes is shared with what was there, and ids of files are new.
            let other = harness.tier.newFile()
            #expect(!files.contains(other))
            harness.fillDistinct(other, blocks: 0..<blocks, offset: 1)
            #expect(harness.tier.statistics.framesInUse == before.framesInUse)
            harness.tier.evictAll()
            for file in files + [other] { harness.tier.dropFile(file) }
            harness.tier.evictAll()
            #expect(harness.tier.statistics.framesInUse == 0)
            #expect(harness.tier.statistics.zeroBlocks == 0)
        }
    }

    @Test func itGoesOnThroughManyLives() throws {
        let memory = try TierMemory()
        var files: [CacheID] = []
        var expected: [[UInt64: UInt64]] = []
        for life in 1...12 as ClosedRange<UInt64> {
            try memory.withTier(budget: 4 << 20, survivors: files, generations: 4) { harness in
                #expect(harness.tier.life == life)
                harness.tier.waitUntilReady()
                var hits = 0
                for (file, blocks) in zip(files, expected) {
                    for (block, number) in blocks {
                        guard let found = harness.read(file, block) else { continue }
                        #expect(found == number)
                        hits += 1
                    }
                }
                #expect(life == 1 || hits >= 500)
                let file = harness.tier.newFile()
                harness.fillDistinct(file, blocks: 0..<600, offset: life << 32)
                harness.fillDistinct(file, blocks: 600..<700, offset: 1 << 48)
                files.append(file)
                let numbers = (0..<700 as Range<UInt64>).map { block in
                    (block, block + (block < 600 ? life << 32 : 1 << 48))
                }
                expected.append(Dictionary(uniqueKeysWithValues: numbers))
            }
        }
    }

    @Test func filesOfNobodyAreForgotten() throws {
        let memory = try TierMemory()
        let files = try memory.withTier(budget: 4 << 20) { harness in
            let files = (0..<2).map { _ in harness.tier.newFile() }
            for file in files { harness.fillDistinct(file, blocks: 0..<100, offset: 1) }
            harness.tier.dropFile(files[0])
            return files
        }
        try memory.withTier(budget: 4 << 20, survivors: [files[1]]) { harness in
            harness.tier.waitUntilReady()
            #expect(harness.tier.statistics.cachedBlocks == 100)
            #expect(harness.hits(files[0], 0..<100) == 0)
            #expect(harness.hits(files[1], 0..<100) == 100)
        }
    }

    @Test func keptContentsStayKept() throws {
        let memory = try TierMemory()
        let (file, frames) = try memory.withTier(budget: 8 << 20) { harness in
            let frames = UInt64(harness.tier.statistics.frameCapacity)
            let file = harness.tier.newFile()
            harness.fillDistinct(file, blocks: 0..<(frames / 4), offset: 1, pinned: true)
            return (file, frames)
        }
        try memory.withTier(budget: 8 << 20, survivors: [file]) { harness in
            harness.tier.waitUntilReady()
            let scanned = harness.tier.newFile()
            harness.fillDistinct(scanned, blocks: 0..<(frames * 4), offset: 1 << 32)
            #expect(harness.hits(file, 0..<(frames / 4)) == Int(frames / 4))
        }
    }

    @Test func ghostsComeBackAcrossALife() throws {
        let memory = try TierMemory()
        let file = try memory.withTier(budget: 4 << 20) { harness in
            let frames = UInt64(harness.tier.statistics.frameCapacity)
            let file = harness.tier.newFile()
            harness.fill(file, 0, [77], readAhead: true)
            let filler = harness.tier.newFile()
            var block: UInt64 = 0
            while harness.tier.contains(file, block: 0), block < frames * 4 {
                harness.fill(filler, block, [block + 1000], readAhead: true)
                block += 1
            }
            return file
        }
        try memory.withTier(budget: 4 << 20, survivors: [file]) { harness in
            harness.tier.waitUntilReady()
            #expect(harness.read(file, 0) == nil)
            harness.fill(harness.tier.newFile(), 9, [77])
            #expect(harness.read(file, 0) == 77)
        }
    }

    /// Memory of another budget, form or key is not taken over, whatever is in it.
    @Test func whatDiffersStartsCold() throws {
        let memory = try TierMemory()
        func fill(_ harness: TierHarness) -> CacheID {
            let file = harness.tier.newFile()
            harness.fillDistinct(file, blocks: 0..<100, offset: 1)
            return file
        }
        func expectCold(_ harness: TierHarness, _ file: CacheID) {
            #expect(harness.hits(file, 0..<100) == 0)
            #expect(harness.tier.statistics.cachedBlocks == 0)
            harness.fillDistinct(file, blocks: 0..<100, offset: 1)
            #expect(harness.hits(file, 0..<100) == 100)
        }
        let file = try memory.withTier(budget: 8 << 20) { fill($0) }
        try memory.withTier(budget: 4 << 20, survivors: [file]) { expectCold($0, file) }
        try memory.withTier(budget: 8 << 20, survivors: [file]) { expectCold($0, file) }
        try memory.withTier(budget: 8 << 20, survivors: [file], generations: 8) {
            expectCold($0, file)
        }
        try memory.withTier(budget: 8 << 20, survivors: [file], key: 9) { expectCold($0, file) }
        for word in [0, 8, 9, 18] {
            try memory.flip(bit: 3, ofByte: memory.header + 8 * word)
            try memory.withTier(budget: 8 << 20, survivors: [file], key: 9) {
                expectCold($0, file)
            }
        }
    }

    /// Notes are zero at first and are what was left in them later.
    @Test func notesAreKept() throws {
        let memory = try TierMemory()
        try memory.withTier(budget: 4 << 20) { harness in
            #expect(harness.tier.notes.allSatisfy { $0 == 0 })
            for index in harness.tier.notes.indices {
                harness.tier.notes[index] = UInt8(truncatingIfNeeded: index)
            }
        }
        try memory.withTier(budget: 4 << 20) { harness in
            #expect(
                harness.tier.notes.indices.allSatisfy { index in
                    harness.tier.notes[index] == UInt8(truncatingIfNeeded: index)
                })
        }
    }

    /// Whatever a bit of the bookkeeping or of a frame turns into: no trap, and no wrong byte.
    @Test(arguments: 0..<8 as Range<UInt64>)
    func damageIsAMiss(seed: UInt64) throws {
        let memory = try TierMemory()
        let original = try memory.withTier(budget: 2 << 20, generations: 8) { harness in
            let files = (0..<3).map { _ in harness.tier.newFile() }
            for round in 0..<3 as Range<UInt64> {
                for (index, file) in files.enumerated() {
                    harness.fillDistinct(
                        file, blocks: 0..<200, offset: Self.offset(index) + round * 100)
                    harness.fill(file, 300, [0, 0, 5, 0])
                }
            }
            return files
        }
        let (written, header) = (memory.written, memory.header)
        #expect(header > 0)
        var generator = SeededGenerator(state: seed)
        var (hits, damaged) = (0, UInt64(0))
        for round in 0..<40 {
            let copy = try memory.copy()
            // From one bit to thousands; the header is left alone, whose damage is tested above.
            for _ in 0..<(1 << (round % 14)) {
                let byte = Int.random(in: 0..<written, using: &generator)
                if (header..<header + 512).contains(byte) { continue }
                try copy.flip(bit: Int.random(in: 0..<8, using: &generator), ofByte: byte)
            }
            try copy.withTier(budget: 2 << 20, survivors: original, generations: 8) { harness in
                func check() {
                    for (index, file) in original.enumerated() {
                        for block in 0..<200 as Range<UInt64> {
                            guard let found = harness.read(file, block) else { continue }
                            #expect(found == block + Self.offset(index) + 200)
                            hits += 1
                        }
                        for block in 300..<304 as Range<UInt64> {
                            guard let found = harness.read(file, block) else { continue }
                            #expect(found == (block == 302 ? 5 : 0))
                        }
                    }
                }
                check()
                harness.tier.waitUntilReady()
                check()
                let other = harness.tier.newFile()
                harness.fillDistinct(other, blocks: 0..<2000, offset: 1 << 40)
                for block in 0..<2000 as Range<UInt64> {
                    guard let found = harness.read(other, block) else { continue }
                    #expect(found == block + 1 << 40)
                }
                check()
                damaged += harness.tier.statistics.damagedBlocks
                let statistics = harness.tier.statistics
                #expect(statistics.framesInUse <= statistics.frameCapacity)
            }
        }
        #expect(hits > 2000)
        #expect(damaged > 0)
    }

    private static func offset(_ file: Int) -> UInt64 { UInt64(file + 1) << 32 }
}
