import Glibc
import Passthrough
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// What was read ahead before a change is not found after it.
@Suite struct StaleReadAheadTests {
    private let fixture: Fixture
    private let block = Content.blockSize
    private let contents = Content.blocks(seed: 1, count: 64)

    init() throws { fixture = try Fixture() }

    /// Reads blocks 8 to 40 of a file ahead, with a change between the read and its end. Answers
    /// how many blocks are cached then.
    private func readAhead(
        _ name: String, whileChanging change: (NodeID) throws -> Void
    ) throws -> (node: NodeID, cached: Int) {
        let datastore = fixture.datastore
        let node = try fixture.file(name, contents)
        _ = try datastore.open(node, flags: O_RDWR, killSetID: false)
        let inode = try datastore.inode(node)
        let map = datastore.blockMap(of: inode)
        let claim = try #require(datastore.fills.begin(map: map, block: 8, count: 32))
        var reply = ReadReply()
        let file = try datastore.file(inode, .read)
        let length = try datastore.fill(
            inode, file, map, 8, claim, wanted: 0, reply.landing(), &reply, isPinned: false)
        #expect(length == 32 * block)
        try change(node)
        reply.reset()
        let cached = try fixture.statistics(node).cachedBytes / 4096
        let expected = try Files.read(fixture.backing(name))
        let found = try fixture.read(node)
        #expect(Content.firstDifference(found, expected) == nil)
        #expect(found.count == expected.count)
        return (node, Int(cached))
    }

    @Test func withoutAChangeItIsFound() throws {
        let (node, cached) = try readAhead("a") { _ in }
        #expect(cached == 32)
        #expect(try fixture.statistics(node).hitsRAM == 32)
    }

    @Test func aWriteInBetween() throws {
        let cached = try readAhead("a") { node in
            try fixture.write(node, 10 * block + 100, [1, 2, 3])
        }.cached
        #expect(cached == 0, "a group of blocks is superseded together")
    }

    @Test func aTruncationInBetween() throws {
        _ = try readAhead("shorter") { try fixture.truncate($0, 20 * block + 5) }
        _ = try readAhead("shorter and longer") { node in
            try fixture.truncate(node, 20 * block + 5)
            try fixture.truncate(node, 64 * block)
        }
        _ = try readAhead("empty") { try fixture.truncate($0, 0) }
    }

    @Test func aHoleInBetween() throws {
        _ = try readAhead("a") { node in
            try fixture.datastore.allocate(
                node, mode: 3, offset: UInt64(9 * block), length: UInt64(7 * block))
        }
    }

    @Test func aChangeByOthersInBetween() throws {
        let cached = try readAhead("a") { node in
            try fixture.writeBehindItsBack("a", 9 * block, [UInt8](repeating: 7, count: 100))
            _ = try fixture.datastore.open(node, flags: O_RDONLY, killSetID: false)
        }.cached
        #expect(cached == 0)
    }

    @Test func aRemovalWaitsForItAndGoesOn() throws {
        let node = try fixture.file("a", contents)
        for first in 0..<20 { _ = try fixture.read(node, first * block, block) }
        try fixture.datastore.unlink(parent: .root, name: "a")
        try #require(eventually { fixture.datastore.ahead.isIdle })
        #expect(fixture.datastore.descriptors.find(node, .read) == nil)
        #expect(try fixture.statistics().cachedBytes == 0)
    }

    /// A writer finds what it wrote, while others read the file from end to end again and again.
    @Test func writesBesideSequentialReaders() throws {
        let fixture = try Fixture(ram: 32 << 20)
        let count = 1500
        let node = try fixture.file("a", Content.blocks(seed: 2, count: count))
        let block = block
        let isOver = Atomic<Bool>(false)
        let ordered = Atomic<Int>(0)
        let fixtureOfThreads = fixture
        try concurrently(3) { number in
            let fixture = fixtureOfThreads
            WaitMode.set(mayWait: true)
            if number == 0 {
                defer { isOver.store(true, ordering: .relaxed) }
                var generator = SplitMix64(seed: 3)
                for _ in 0..<400 {
                    let place = Int.random(in: 0..<count, using: &generator) * block
                    let bytes = generator.bytes(block)
                    try fixture.write(node, place, bytes)
                    let found = try fixture.read(node, place, block)
                    #expect(found == bytes)
                    sleep(milliseconds: 1)
                    let later = try fixture.read(node, place, block)
                    #expect(later == bytes)
                }
                return
            }
            while !isOver.load(ordering: .relaxed) {
                for first in stride(from: 0, to: count, by: 16) {
                    _ = try fixture.read(node, first * block, 16 * block)
                    if !fixture.datastore.ahead.isIdle { ordered.add(1, ordering: .relaxed) }
                }
                fixture.datastore.dropMap(try fixture.datastore.inode(node))
            }
        }
        #expect(ordered.load(ordering: .relaxed) > 0, "nothing was read ahead")
        let expected = try Files.read(fixture.backing("a"))
        var found: [UInt8] = []
        for first in stride(from: 0, to: count, by: 256) {
            found += try fixture.read(node, first * block, 256 * block)
        }
        #expect(Content.firstDifference(found, expected) == nil)
    }
}
