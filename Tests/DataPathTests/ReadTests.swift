import CLinux
import Glibc
import Passthrough
import Syscalls
import TestSupport
import Testing

@testable import DataPath

@Suite struct ReadTests {
    private let fixture: Fixture
    private let block = Content.blockSize

    init() throws { fixture = try Fixture() }

    @Test func countersAreExact() throws {
        let contents = Content.blocks(seed: 1, count: 100)
        let node = try fixture.file("a", contents)
        #expect(try fixture.read(node, 0, 8192) == Array(contents[..<8192]))
        var report = try fixture.statistics(node)
        #expect(report.reads == 1)
        #expect(report.readBytes == 8192)
        #expect(report.misses == 2)
        #expect(report.hitsRAM == 0)
        #expect(report.backendReads == 1)
        // 16 blocks of read-ahead, which are no misses.
        #expect(report.backendReadBytes == 18 * 4096)
        #expect(report.savedReads == 0)
        #expect(report.cachedBytes == 18 * 4096)
        // Parts of blocks: a request that touches a block counts it once.
        #expect(try fixture.read(node, 100, 10) == Array(contents[100..<110]))
        #expect(try fixture.read(node, 4090, 16) == Array(contents[4090..<4106]))
        report = try fixture.statistics(node)
        #expect(report.reads == 3)
        #expect(report.readBytes == 8192 + 26)
        #expect(report.hitsRAM == 3)
        #expect(report.misses == 2)
        #expect(report.savedReads == 2)
        #expect(report.savedBytes == 26)
        // The last block that is there and the first that is not.
        let place = 17 * 4096
        #expect(try fixture.read(node, place, 8192) == Array(contents[place..<(place + 8192)]))
        report = try fixture.statistics(node)
        #expect(report.hitsRAM == 4)
        #expect(report.misses == 3)
        #expect(report.savedReads == 2)
        // Whoever jumps is not read ahead.
        #expect(report.backendReads == 2)
        #expect(report.backendReadBytes == (18 + 1) * 4096)
        #expect(report.bypassed == 0)
        #expect(report.hitsZero == 0)
        let root = try fixture.statistics()
        #expect(root.hitsRAM == 4)
        #expect(root.misses == 3)
        #expect(root.readBytes == report.readBytes)
        #expect(root.backendReadBytes == report.backendReadBytes)
    }

    @Test func zerosAreCountedByThemselvesAndTakeNoMemory() throws {
        let node = try fixture.file("zeros", [UInt8](repeating: 0, count: 8 * block))
        #expect(try fixture.read(node) == [UInt8](repeating: 0, count: 8 * block))
        #expect(try fixture.read(node) == [UInt8](repeating: 0, count: 8 * block))
        let report = try fixture.statistics(node)
        #expect(report.misses == 8)
        #expect(report.hitsZero == 8)
        #expect(report.hitsRAM == 0)
        #expect(report.cachedBytes == 0)
        #expect(fixture.datastore.report().uniqueBytesRAM == 0)
    }

    @Test func readsEndAtTheEndOfTheFile() throws {
        let contents = Array(Content.blocks(seed: 2, count: 3)[..<10_000])
        let node = try fixture.file("short", contents)
        for _ in 0..<2 {
            #expect(try fixture.read(node, 8192, 4096) == Array(contents[8192...]))
            #expect(try fixture.read(node, 9999, 1) == [contents[9999]])
            #expect(try fixture.read(node, 10_000, 4096) == [])
            #expect(try fixture.read(node, 1 << 40, 4096) == [])
            #expect(try fixture.read(node, 5, 0) == [])
        }
        #expect(try fixture.read(try fixture.file("empty", [])) == [])
    }

    @Test func aThreadThatMayNotWaitGetsWhatIsCachedAndNothingElse() throws {
        let contents = Content.blocks(seed: 3, first: 1, count: 200)
        let node = try fixture.file("a", contents)
        fixture.withoutWaiting {
            #expect(throws: Errno.mustWait) { try fixture.read(node, 0, 4096) }
        }
        _ = try fixture.read(node, 0, 16 * block)
        try fixture.withoutWaiting { () throws in
            #expect(try fixture.read(node, 0, 16 * block) == Array(contents[..<(16 * block)]))
            // Partly cached is not cached.
            #expect(throws: Errno.mustWait) { try fixture.read(node, 0, 150 * block) }
        }
        // What was refused is not counted; the second attempt is.
        #expect(try fixture.statistics(node).reads == 2)
        #expect(try fixture.statistics(node).misses == 16)
    }

    @Test func equalBlocksOfDifferentFilesAreKeptOnce() throws {
        let contents = Content.blocks(seed: 4, count: 64)
        let first = try fixture.file("a", contents)
        let second = try fixture.file("b", contents)
        _ = try fixture.read(first)
        #expect(try fixture.read(second) == contents)
        #expect(fixture.datastore.report().uniqueBytesRAM == 64 * 4096)
        #expect(try fixture.statistics().cachedBytes == 128 * 4096)
        // One of them changes: the other keeps its contents.
        try fixture.write(second, 0, Content.block(seed: 5, number: 0))
        #expect(try fixture.read(first) == contents)
        #expect(try fixture.read(second, 0, block) == Content.block(seed: 5, number: 0))
    }

    @Test func manyWhoWantTheSameCauseOneRead() throws {
        let contents = Content.blocks(seed: 6, count: 256)
        let node = try fixture.file("a", contents)
        let fixture = fixture
        try concurrently(8) { _ in
            WaitMode.set(mayWait: true)
            let bytes = try fixture.read(node)
            #expect(Content.firstDifference(bytes, contents) == nil)
        }
        let report = try fixture.statistics(node)
        #expect(report.backendReads == 1)
        #expect(report.backendReadBytes == 1 << 20)
        #expect(report.hitsRAM + report.misses == 8 * 256)
    }

    @Test func aSequentialReaderIsReadAheadAndNothingIsReadTwice() throws {
        let contents = Content.blocks(seed: 7, count: 600)
        let node = try fixture.file("a", contents)
        for number in 0..<600 {
            let place = number * block
            let bytes = try fixture.read(node, place, block)
            #expect(bytes == Array(contents[place..<(place + block)]))
        }
        try #require(eventually { fixture.datastore.ahead.isIdle })
        let report = try fixture.statistics(node)
        #expect(report.backendReadBytes == 600 * 4096)
        // It may be faster than who reads ahead of it.
        #expect(report.backendReads < 300)
        #expect(report.misses < 300)
        #expect(report.hitsRAM + report.misses == 600)
    }

    @Test func aReaderThatJumpsGetsWhatItAskedFor() throws {
        let path = fixture.backing("large")
        try Content.write(path, seed: 8, count: 1500)
        let node = try fixture.datastore.lookup(parent: .root, name: "large").node
        for number in [1400, 200, 900, 500, 1100] {
            let bytes = try fixture.read(node, number * block, block)
            #expect(bytes == Content.block(seed: 8, number: UInt64(number)))
        }
        let report = try fixture.statistics(node)
        #expect(report.backendReads == 5)
        #expect(report.backendReadBytes == 5 * 4096)
    }

    @Test func onlyFilesCanBeRead() throws {
        mkdir(fixture.backing("folder"), 0o755)
        symlink("a", fixture.backing("link"))
        let folder = try fixture.datastore.lookup(parent: .root, name: "folder").node
        let link = try fixture.datastore.lookup(parent: .root, name: "link").node
        #expect(throws: Errno.isDirectory) { try fixture.read(folder) }
        #expect(throws: Errno.invalid) { try fixture.read(link) }
        #expect(throws: Errno.stale) { try fixture.read(NodeID(424_242)) }
    }
}
