import Glibc
import Passthrough
import Policy
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// What is read ahead of sequential readers, and that nothing of it is ever stale.
@Suite struct ReadAheadTests {
    private let fixture: Fixture
    private let block = Content.blockSize

    init() throws { fixture = try Fixture(ram: 64 << 20) }

    /// Waits until what was ordered is read.
    private func settle() throws {
        try #require(eventually { fixture.datastore.ahead.isIdle })
    }

    /// Reads some blocks and compares them.
    private func read(
        _ node: NodeID, _ first: Int, _ count: Int, _ contents: [UInt8]
    ) throws {
        let bytes = try fixture.read(node, first * block, count * block)
        let end = min(contents.count, (first + count) * block)
        #expect(bytes == Array(contents[first * block..<end]))
    }

    @Test func laterReadsHitWhatWasReadAhead() throws {
        let contents = Content.blocks(seed: 1, count: 2000)
        let node = try fixture.file("a", contents)
        for first in stride(from: 0, to: 2000, by: 16) {
            try read(node, first, 16, contents)
            try settle()
        }
        let report = try fixture.statistics(node)
        // Only the first request had to wait.
        #expect(report.misses == 16)
        #expect(report.hitsRAM == 2000 - 16)
        #expect(report.backendReadBytes == 2000 * 4096)
        #expect(report.backendReads < 16)
    }

    @Test func largeRequestsAreReadAheadAsWell() throws {
        let contents = Content.blocks(seed: 2, count: 3072)
        let node = try fixture.file("a", contents)
        for first in stride(from: 0, to: 3072, by: 256) {
            try read(node, first, 256, contents)
            try settle()
        }
        let report = try fixture.statistics(node)
        #expect(report.misses < 2 * 256)
        #expect(report.backendReadBytes == 3072 * 4096)
    }

    @Test func aReaderThatDoesNotWaitForItReadsNothingTwice() throws {
        let contents = Content.blocks(seed: 3, count: 2048)
        let node = try fixture.file("a", contents)
        for first in stride(from: 0, to: 2048, by: 64) { try read(node, first, 64, contents) }
        try settle()
        #expect(try fixture.statistics(node).backendReadBytes == 2048 * 4096)
    }

    @Test func severalReadersOfOneFileAreEachReadAhead() throws {
        let contents = Content.blocks(seed: 4, count: 4000)
        let node = try fixture.file("a", contents)
        let fixture = fixture
        try concurrently(4) { reader in
            WaitMode.set(mayWait: true)
            for number in 0..<50 {
                let place = (reader * 1000 + number * 8) * block
                let bytes = try fixture.read(node, place, 8 * block)
                #expect(bytes == Array(contents[place..<(place + 8 * block)]))
                try #require(eventually { fixture.datastore.ahead.isIdle })
            }
        }
        // Two requests for each to be known, and some that overlap with what is on its way.
        #expect(try fixture.statistics(node).misses <= 4 * 5 * 8)
    }

    @Test func readersAtRandomCauseNone() throws {
        let path = fixture.backing("large")
        try Content.write(path, seed: 5, count: 4000)
        let node = try fixture.datastore.lookup(parent: .root, name: "large").node
        for number in 1..<20 {
            let place = number * 1237 % 4000
            let bytes = try fixture.read(node, place * block, block)
            #expect(bytes == Content.block(seed: 5, number: UInt64(place)))
        }
        try settle()
        let report = try fixture.statistics(node)
        #expect(report.backendReads == 19)
        #expect(report.backendReadBytes == 19 * 4096)
    }

    @Test func nothingIsReadBehindTheEndOrWhatIsNotCached() throws {
        let contents = Content.blocks(seed: 6, count: 40)
        let node = try fixture.file("a", Array(contents[..<(39 * block + 100)]))
        for first in 0..<39 { try read(node, first, 1, contents) }
        #expect(try fixture.read(node, 39 * block, block).count == 100)
        try settle()
        #expect(try fixture.statistics(node).backendReadBytes == 39 * 4096 + 100)
        let other = try fixture.file("b", contents)
        try fixture.datastore.setReadPolicy(.bypass, of: other)
        for first in 0..<40 { try read(other, first, 1, contents) }
        #expect(fixture.datastore.ahead.isIdle)
        #expect(try fixture.statistics(other).backendReads == 40)
    }

    @Test func aDatastoreThatIsBusyIsNotReadAhead() throws {
        let contents = Content.blocks(seed: 7, count: 200)
        let node = try fixture.file("a", contents)
        let fills = fixture.datastore.fills
        var claims: [UInt64] = []
        for number in 0..<Limits.readsBesideReadAhead {
            claims.append(
                try #require(fills.begin(map: 999_999, block: UInt64(number), count: 1)).id)
        }
        for first in 0..<20 { try read(node, first, 1, contents) }
        #expect(try fixture.statistics(node).backendReadBytes == 20 * 4096)
        for claim in claims { fills.end(claim) }
        for first in 20..<40 { try read(node, first, 1, contents) }
        try settle()
        #expect(try fixture.statistics(node).misses < 25)
    }

    @Test func afterTheEndNothingIsOrdered() throws {
        let contents = Content.blocks(seed: 8, count: 200)
        let node = try fixture.file("a", contents)
        fixture.close()
        for first in 0..<30 { try read(node, first, 1, contents) }
        #expect(fixture.datastore.ahead.isIdle)
        #expect(try fixture.statistics(node).hitsRAM < 30)
    }
}
