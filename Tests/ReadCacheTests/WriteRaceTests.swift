import ReadCache
import Testing

/// A fill must never bring back what was overwritten while it was under way.
@Suite struct WriteRaceTests {
    @Test func aWriteBetweenBeginAndEndRefusesTheFill() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        let fill = harness.tier.beginFill(file, firstBlock: 0, count: 4)
        let write = harness.tier.beginWrite(file, firstBlock: 2, count: 1)
        harness.tier.endWrite(write)
        harness.endFill(fill, [1, 2, 3, 4])
        #expect(harness.hits(file, 0..<4) == 0)
    }

    @Test func aFillThatBeginsDuringAWriteIsRefused() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        let write = harness.tier.beginWrite(file, firstBlock: 2, count: 1)
        let fill = harness.tier.beginFill(file, firstBlock: 0, count: 4)
        harness.tier.endWrite(write)
        harness.endFill(fill, [1, 2, 3, 4])
        #expect(harness.hits(file, 0..<4) == 0)
    }

    @Test func aFillThatEndsDuringAWriteIsRefused() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        let fill = harness.tier.beginFill(file, firstBlock: 0, count: 4)
        let write = harness.tier.beginWrite(file, firstBlock: 2, count: 1)
        harness.endFill(fill, [1, 2, 3, 4])
        harness.tier.endWrite(write)
        #expect(harness.hits(file, 0..<4) == 0)
        harness.fill(file, 0, [1, 2, 3, 4])
        #expect(harness.hits(file, 0..<4) == 4)
    }

    @Test func aWriteElsewhereDoesNotRefuseTheFill() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        let fill = harness.tier.beginFill(file, firstBlock: 0, count: 512)
        let write = harness.tier.beginWrite(file, firstBlock: 300, count: 1)
        harness.endFill(fill, (1...512).map { UInt64($0) })
        harness.tier.endWrite(write)
        #expect(harness.hits(file, 0..<256) == 256)
        #expect(harness.hits(file, 256..<512) == 0)
    }

    @Test(arguments: [UInt64(5000), UInt64.max])
    func aHugeWriteRefusesFillsAnywhereInTheFile(count: UInt64) throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        let fill = harness.tier.beginFill(file, firstBlock: 4000, count: 2)
        let write = harness.tier.beginWrite(file, firstBlock: 0, count: count)
        let during = harness.tier.beginFill(file, firstBlock: 4000, count: 2)
        harness.endFill(fill, [1, 2])
        harness.tier.endWrite(write)
        harness.endFill(during, [1, 2])
        #expect(harness.hits(file, 4000..<4002) == 0)
    }

    @Test func droppingAFileRefusesItsFills() throws {
        let harness = try TierHarness(mebibytes: 4)
        let file = harness.tier.newFile()
        let fill = harness.tier.beginFill(file, firstBlock: 0, count: 2)
        harness.tier.dropFile(file)
        harness.endFill(fill, [1, 2])
        #expect(harness.hits(file, 0..<2) == 0)
    }
}
