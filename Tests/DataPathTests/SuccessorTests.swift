import CLinux
import Glibc
import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// A server that takes over the cache of the one before it believes what it may, and nothing else.
@Suite struct SuccessorTests {
    private let block = Content.blockSize
    private let contents = Content.blocks(seed: 1, count: 64)

    /// One server after the other over the same folder and memory.
    private final class Servers {
        let folder: TemporaryFolder
        private let frames: Int32

        init() throws {
            folder = try TemporaryFolder("successor")
            frames = try SharedMemory.create(name: "frames", size: 8 << 20)
        }

        deinit { close(frames) }

        /// Runs `body` with a server, which is gone afterwards.
        func serve<Result>(
            ram: Int = 8 << 20, bypass: BypassMode = .off, _ body: (Fixture) throws -> Result
        ) throws -> Result {
            let fixture = try Fixture(ram: ram, on: folder, frames: frames, bypass: bypass)
            defer {
                fixture.datastore.tier.waitUntilReady()
                fixture.close()
            }
            return try body(fixture)
        }

        func backing(_ name: String) -> String { folder.path("backing/\(name)") }
    }

    /// Makes a file, opens it and reads all of it.
    private func cache(
        _ fixture: Fixture, _ name: String, _ bytes: [UInt8]
    ) throws -> NodeID {
        let node = try fixture.file(name, bytes)
        try open(fixture, node)
        #expect(try fixture.read(node) == bytes)
        return node
    }

    /// Reads all of a file, which must be as expected; answers the blocks that were cached or not.
    private func read(
        _ fixture: Fixture, _ node: NodeID, _ expected: [UInt8]
    ) throws -> (hits: UInt64, misses: UInt64) {
        try fixture.blocks(node) {
            let bytes = try fixture.read(node)
            #expect(bytes == expected)
        }
    }

    private func open(_ fixture: Fixture, _ node: NodeID) throws {
        _ = try fixture.datastore.open(node, flags: O_RDWR, killSetID: false)
    }

    private func change(_ path: String, _ offset: Int, _ bytes: [UInt8]) throws {
        let before = try Files.attributes(path)
        let file = try OpenFile(path, O_WRONLY)
        let isLater = try eventually {
            try file.write(bytes, at: UInt64(offset))
            let now = try Files.attributes(path)
            return now.changed_nanoseconds != before.changed_nanoseconds
        }
        #expect(isLater)
    }

    @Test func whatWasCachedIsCached() throws {
        let servers = try Servers()
        let nodes = try servers.serve { fixture in
            let nodes = try (0..<5).map { try cache(fixture, "file-\($0)", contents) }
            #expect(try fixture.statistics().cachedBytes == 5 * 64 * 4096)
            return nodes
        }
        for _ in 0..<3 {
            try servers.serve { fixture in
                let reads = try fixture.statistics().backendReads
                for node in nodes {
                    let met = try read(fixture, node, contents)
                    #expect(met.hits == 64)
                    #expect(met.misses == 0)
                }
                #expect(try fixture.statistics().backendReads == reads)
                #expect(try fixture.statistics().cachedBytes == 5 * 64 * 4096)
                #expect(fixture.datastore.report().uniqueBytesRAM == 64 * 4096)
            }
        }
    }

    /// Nobody needs to read a file before it counts.
    @Test func figuresAndOrdersCoverWhatNobodyAskedForYet() throws {
        let servers = try Servers()
        let node = try servers.serve { try cache($0, "a", contents) }
        try servers.serve { fixture in
            let isMet = eventually { fixture.datastore.inodes.find(node) != nil }
            #expect(isMet)
            #expect(try fixture.statistics().cachedBytes == 64 * 4096)
            try fixture.datastore.drop(.root)
            #expect(try fixture.statistics().cachedBytes == 0)
        }
        try servers.serve { fixture in
            let met = try read(fixture, node, contents)
            #expect(met.hits == 0)
        }
    }

    @Test func onlyWhatWasWrittenIsMissing() throws {
        let servers = try Servers()
        let fresh = Content.block(seed: 2, number: 0)
        let node = try servers.serve { fixture in
            let node = try cache(fixture, "a", contents)
            try fixture.write(node, 20 * block, fresh)
            // The server dies in the middle of another write.
            let inode = try fixture.datastore.inode(node)
            let map = inode.beginChange(to: UInt64(31 * block))
            _ = fixture.datastore.tier.beginWrite(
                .init(rawValue: map), firstBlock: 30, count: 1)
            return node
        }
        try change(servers.backing("a"), 30 * block, fresh)
        try servers.serve { fixture in
            var expected = contents
            expected.replaceSubrange(20 * block..<21 * block, with: fresh)
            expected.replaceSubrange(30 * block..<31 * block, with: fresh)
            // Before that what is read is not admitted.
            fixture.datastore.tier.waitUntilReady()
            let met = try read(fixture, node, expected)
            #expect(met.hits == 62)
            #expect(met.misses == 2)
            try open(fixture, node)
            let again = try read(fixture, node, expected)
            #expect(again.misses == 0)
        }
    }

    /// Waits until a file is compared with what the last server noted. Whoever reads it in the
    /// instant before is answered as by that one.
    private func awaitComparison(_ fixture: Fixture, _ node: NodeID) throws {
        let inode = try fixture.datastore.inode(node)
        #expect(eventually { inode.state.withLock { $0.sampledAt != 0 } })
    }

    @Test(arguments: [false, true])
    func whatOthersChangedMeanwhileIsSeen(isGrown: Bool) throws {
        let servers = try Servers()
        let node = try servers.serve { try cache($0, "a", contents) }
        let fresh = Content.block(seed: 2, number: 0)
        let position = isGrown ? 64 : 20
        try change(servers.backing("a"), position * block, fresh)
        try servers.serve { fixture in
            try awaitComparison(fixture, node)
            let bytes = try fixture.read(node, position * block, block)
            #expect(bytes == fresh)
            #expect(try fixture.read(node, 0, 64 * block).count == 64 * block)
        }
    }

    /// A size that no change of ours can have left is somebody else's doing.
    @Test func anotherSizeAfterAChangeOfOursIsSeen() throws {
        let servers = try Servers()
        let node = try servers.serve { fixture in
            let node = try cache(fixture, "a", contents)
            try fixture.write(node, 0, [1])
            return node
        }
        let other = Content.blocks(seed: 9, count: 65)
        try Files.write(servers.backing("a"), other)
        let bytes = try servers.serve { fixture in
            try awaitComparison(fixture, node)
            return try fixture.read(node)
        }
        #expect(bytes == other)
    }

    /// A write that made the file longer, or cut it, when the server died: either size is ours.
    @Test(arguments: [63, 64, 66, 70])
    func sizesOfAChangeUnderWay(blocks: Int) throws {
        let servers = try Servers()
        let node = try servers.serve { fixture in
            let node = try cache(fixture, "a", contents)
            _ = try fixture.datastore.inode(node).beginChange(to: UInt64(66 * block))
            return node
        }
        #expect(truncate(servers.backing("a"), off_t(blocks * block)) == 0)
        try servers.serve { fixture in
            try awaitComparison(fixture, node)
            let met = try fixture.blocks(node) {
                let bytes = try fixture.read(node)
                #expect(bytes.count == blocks * block)
                #expect(bytes.prefix(63 * block) == contents.prefix(63 * block))
            }
            #expect(met.hits == (64...66 ~= blocks ? 64 : 0))
        }
    }

    @Test func whatIsGoneOrNewIsNotTakenForTheOld() throws {
        let servers = try Servers()
        _ = try servers.serve { fixture in
            _ = try cache(fixture, "gone", contents)
            _ = try cache(fixture, "replaced", contents)
            let cut = try cache(fixture, "cut", contents)
            try fixture.truncate(cut, 10 * block)
            _ = try cache(fixture, "unlinked", contents)
            try fixture.datastore.unlink(parent: .root, name: "unlinked")
        }
        let other = Content.blocks(seed: 7, count: 64)
        unlink(servers.backing("gone"))
        unlink(servers.backing("replaced"))
        try Files.write(servers.backing("replaced"), other)
        try Files.write(servers.backing("unlinked"), other)
        try servers.serve { fixture in
            let isForgotten = try eventually {
                let cached = try fixture.statistics().cachedBytes
                return fixture.datastore.inherited.withLock { $0.isEmpty } && cached == 10 * 4096
            }
            #expect(isForgotten)
            for name in ["replaced", "unlinked"] {
                let node = try fixture.datastore.resolve(path: name)
                #expect(try fixture.read(node) == other)
            }
            let cut = try fixture.datastore.resolve(path: "cut")
            #expect(try fixture.read(cut) == Array(contents[..<(10 * block)]))
        }
    }

    /// A server without cache changes files and takes nothing out of what is there.
    @Test func whatAServerWithoutCacheWroteIsSeen() throws {
        let servers = try Servers()
        let node = try servers.serve { fixture in
            let node = try cache(fixture, "a", contents)
            // A change of ours of the same size: sizes are all that can be compared.
            try fixture.write(node, 0, [1])
            return node
        }
        let fresh = Content.block(seed: 2, number: 0)
        try servers.serve(bypass: .automatic) { try $0.write(node, 20 * block, fresh) }
        var expected = contents
        expected[0] = 1
        expected.replaceSubrange(20 * block..<21 * block, with: fresh)
        let met = try servers.serve { try read($0, node, expected) }
        #expect(met.hits == 0)
    }

    /// Another `ram=` starts cold in the same memory, whether it is more or less.
    @Test func anotherSizeOfMemoryStartsCold() throws {
        let servers = try Servers()
        let node = try servers.serve { try cache($0, "a", contents) }
        for ram in [32 << 20, 4 << 20, 8 << 20] {
            let met = try servers.serve(ram: ram) { fixture in
                let first = try read(fixture, node, contents)
                try open(fixture, node)
                _ = try read(fixture, node, contents)
                return first
            }
            #expect(met.hits == 0)
            let again = try servers.serve(ram: ram) { try read($0, node, contents) }
            #expect(again.misses == 0)
        }
    }

    /// Without a sample that counted there is nothing to compare the file with.
    @Test func whatWasNeverSampledIsCold() throws {
        let servers = try Servers()
        let node = try servers.serve { fixture in
            let node = try fixture.file("a", contents)
            #expect(try fixture.read(node) == contents)
            #expect(try fixture.datastore.inode(node).state.withLock { $0.sample } == nil)
            return node
        }
        try servers.serve { fixture in
            let met = try read(fixture, node, contents)
            #expect(met.misses == 64)
        }
    }
}
