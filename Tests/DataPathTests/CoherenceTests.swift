import CLinux
import Glibc
import Passthrough
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// Changes by others are seen; our own are not taken for theirs.
@Suite struct CoherenceTests {
    private let block = Content.blockSize
    private let contents = Content.blocks(seed: 1, count: 64)

    private func open(_ fixture: Fixture, _ node: NodeID) throws -> Bool {
        try fixture.datastore.open(node, flags: O_RDWR, killSetID: false)
    }

    @Test func aChangeOfTheSameSizeIsSeenAtTheNextOpen() throws {
        let fixture = try Fixture()
        let invalidated = Invalidations(fixture.datastore)
        let node = try fixture.file("a", contents)
        _ = try open(fixture, node)
        #expect(try fixture.read(node) == contents)
        #expect(try open(fixture, node))
        let fresh = Content.block(seed: 2, number: 0)
        try fixture.writeBehindItsBack("a", 20 * block, fresh)
        #expect(invalidated.copies.isEmpty)
        // The kernel must not keep what it has.
        #expect(try !open(fixture, node))
        #expect(invalidated.copies == [.file(node)])
        #expect(try fixture.read(node, 20 * block, block) == fresh)
        #expect(try open(fixture, node))
    }

    @Test func aChangeIsSeenWhileTheFileIsOpen() throws {
        let fixture = try Fixture(attributeTimeout: 0.2)
        let node = try fixture.file("a", contents)
        _ = try open(fixture, node)
        _ = try fixture.read(node)
        let fresh = Content.block(seed: 2, number: 0)
        try fixture.writeBehindItsBack("a", 20 * block, fresh)
        let isSeen = try eventually { try fixture.read(node, 20 * block, block) == fresh }
        #expect(isSeen)
    }

    @Test func aFileThatGrewOrShrankIsSeen() throws {
        let fixture = try Fixture()
        let node = try fixture.file("a", contents)
        _ = try open(fixture, node)
        _ = try fixture.read(node)
        let fresh = Content.block(seed: 2, number: 0)
        try fixture.writeBehindItsBack("a", 64 * block, fresh)
        // Who reads at the end that we know finds out at once.
        #expect(try fixture.read(node, 64 * block, block) == fresh)
        #expect(try fixture.read(node) == contents + fresh)
        #expect(truncate(fixture.backing("a"), 5000) == 0)
        #expect(try !open(fixture, node))
        #expect(try fixture.read(node) == Array(contents[..<5000]))
    }

    @Test func ourOwnChangesKeepWhatIsCached() throws {
        let fixture = try Fixture()
        let invalidated = Invalidations(fixture.datastore)
        let node = try fixture.file("a", contents)
        _ = try open(fixture, node)
        _ = try fixture.read(node)
        var change = AttributeChange()
        change.mode = 0o600
        change.modified = .at(seconds: 1000, nanoseconds: 5)
        for round in 0..<5 {
            try fixture.write(node, 3 * block, [UInt8(round)])
            #expect(try open(fixture, node))
            try fixture.write(node, 64 * block + round, [1])
            #expect(try open(fixture, node))
            _ = try fixture.datastore.setAttributes(node, change)
            #expect(try open(fixture, node))
            try fixture.datastore.sync(node, dataOnly: false)
            #expect(try open(fixture, node))
        }
        let met = try fixture.blocks(node) { _ = try fixture.read(node, 10 * block, 50 * block) }
        #expect(met.hits == 50)
        #expect(met.misses == 0)
        #expect(invalidated.copies.isEmpty)
    }

    @Test func namesDoNotChangeContents() throws {
        let fixture = try Fixture()
        let node = try fixture.file("a", contents)
        let datastore = fixture.datastore
        _ = try open(fixture, node)
        _ = try fixture.read(node)
        _ = try datastore.link(node, newParent: .root, newName: "b")
        #expect(try open(fixture, node))
        try datastore.rename(
            parent: .root, name: "a", newParent: .root, newName: "c", flags: 0)
        #expect(try open(fixture, node))
        try datastore.unlink(parent: .root, name: "b")
        #expect(try open(fixture, node))
        let met = try fixture.blocks(node) { _ = try fixture.read(node) }
        #expect(met.misses == 0)
    }

    /// What is learnt while a write of ours is under way is no evidence, and what others did then
    /// is seen afterwards.
    @Test func aChangeDuringOurOwnIsSeenAfterwards() throws {
        let fixture = try Fixture()
        let node = try fixture.file("a", contents)
        _ = try open(fixture, node)
        _ = try fixture.read(node)
        let inode = try fixture.datastore.inode(node)
        let map = inode.beginChange()
        let fresh = Content.block(seed: 2, number: 0)
        try fixture.writeBehindItsBack("a", 64 * block, fresh)
        #expect(try open(fixture, node))
        #expect(inode.blockMap.load(ordering: .relaxed) == map)
        inode.endChange(map: map, unsynced: false)
        #expect(try !open(fixture, node))
        #expect(inode.blockMap.load(ordering: .relaxed) != map)
        #expect(try fixture.read(node) == contents + fresh)
    }

    /// A write that began before the map was dropped is superseded in a map that is gone: nothing
    /// may enter the new one before it ends.
    @Test func nothingIsCachedWhileAWriteOfTheOldMapIsUnderWay() throws {
        let fixture = try Fixture()
        let node = try fixture.file("a", contents)
        let inode = try fixture.datastore.inode(node)
        let map = inode.beginChange()
        try fixture.datastore.drop(node)
        #expect(try fixture.read(node) == contents)
        #expect(try fixture.statistics(node).cachedBytes == 0)
        inode.endChange(map: map, unsynced: true)
        #expect(try fixture.read(node) == contents)
        #expect(try fixture.statistics(node).cachedBytes == 64 * 4096)
    }

    @Test func droppingForgetsAFileOrATree() throws {
        let fixture = try Fixture()
        let invalidated = Invalidations(fixture.datastore)
        mkdir(fixture.backing("folder"), 0o755)
        let outside = try fixture.file("a", contents)
        try Files.write(fixture.backing("folder/b"), contents)
        let inside = try fixture.datastore.resolve(path: "folder/b")
        let folder = try fixture.datastore.resolve(path: "folder")
        _ = try (fixture.read(outside), fixture.read(inside))
        try fixture.datastore.drop(folder)
        #expect(try fixture.statistics(inside).cachedBytes == 0)
        #expect(try fixture.statistics(outside).cachedBytes == 64 * 4096)
        #expect(fixture.datastore.report().uniqueBytesRAM == 64 * 4096)
        #expect(invalidated.copies == [.file(inside)])
        try fixture.datastore.drop(.root)
        #expect(try fixture.statistics().cachedBytes == 0)
        #expect(fixture.datastore.report().uniqueBytesRAM == 0)
        #expect(invalidated.copies == [.file(inside), .file(outside)])
        #expect(try fixture.read(inside) == contents)
    }

    /// The kernel believes a name for as long as attributes; a client that hears ESTALE looks again
    /// at once, and must find what is there now.
    @Test func aNameOfAFileThatOthersReplacedIsLookedUpAgain() throws {
        let fixture = try Fixture()
        let invalidated = Invalidations(fixture.datastore)
        mkdir(fixture.backing("folder"), 0o755)
        try Files.write(fixture.backing("folder/file"), [1])
        let folder = try fixture.datastore.resolve(path: "folder")
        let file = try fixture.datastore.resolve(path: "folder/file")
        rename(fixture.backing("folder"), fixture.backing("elsewhere"))
        unlink(fixture.backing("elsewhere/file"))
        rmdir(fixture.backing("elsewhere"))
        mkdir(fixture.backing("folder"), 0o755)
        try Files.write(fixture.backing("folder/file"), [2])
        fixture.datastore.walkAgain(to: file)
        #expect(
            invalidated.copies == [
                .name(Array("file".utf8), in: folder), .name(Array("folder".utf8), in: .root),
            ])
        let node = try fixture.datastore.resolve(path: "folder/file")
        #expect(node != file)
        #expect(try fixture.read(node) == [2])
    }
}

/// What the kernel was told to drop.
private final class Invalidations: Sendable {
    private let all = Mutex<Set<KernelCopy>>([])
    var copies: Set<KernelCopy> { all.withLock { $0 } }

    init(_ datastore: Datastore) {
        datastore.onInvalidate { [weak self] copy in
            _ = self?.all.withLock { $0.insert(copy) }
        }
    }
}
