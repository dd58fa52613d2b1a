import CLinux
import Devices
import FlashTier
import Glibc
import Passthrough
import Policy
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// The flash tier below the RAM tier: every test empties memory and looks where blocks come from.
@Suite struct FlashTests {
    private let block = Limits.blockSize
    private let contents = Content.blocks(seed: 1, count: 64)

    /// A datastore with a new flash device in `folder`.
    private func fixture() throws -> Fixture {
        let folder = try TemporaryFolder("flash")
        try format("flash", in: folder)
        return try Fixture(on: folder, flash: "flash")
    }

    private func format(_ name: String, in folder: TemporaryFolder) throws {
        try Files.write(folder.path(name), [])
        truncate(folder.path(name), 64 << 20)
        try FlashFormat.format(try FileDevice(path: folder.path(name)))
    }

    /// The same datastore, started again: with nothing in memory.
    private func restart(_ fixture: Fixture) throws -> Fixture {
        fixture.close()
        let next = try Fixture(on: fixture.folder, flash: "flash")
        try next.awaitFlash()
        return next
    }

    /// Blocks of flash, and reads of the datastore, that a read takes.
    private func sources(
        _ fixture: Fixture, _ node: NodeID, _ expected: [UInt8]
    ) throws -> (flash: UInt64, misses: UInt64) {
        let before = try fixture.statistics(node)
        #expect(try fixture.read(node) == expected)
        let after = try fixture.statistics(node)
        return (after.hitsFlash - before.hitsFlash, after.misses - before.misses)
    }

    @Test func whatWasReadIsThereAfterARestart() throws {
        let first = try fixture()
        let node = try first.file("a", contents)
        try first.awaitFlash()
        #expect(try sources(first, node, contents) == (0, 64))
        try first.awaitFlash()
        let second = try restart(first)
        let again = try second.datastore.lookup(parent: .root, name: "a").node
        #expect(again == node)
        #expect(try sources(second, node, contents) == (64, 0))
        #expect(try sources(second, node, contents) == (0, 0))
        #expect(try second.statistics(node).cachedBytes == UInt64(contents.count))
        #expect(second.datastore.report().uniqueBytes == UInt64(contents.count))
    }

    @Test func whatIsWrittenIsNotReadFromFlash() throws {
        let first = try fixture()
        let node = try first.file("a", contents)
        try first.awaitFlash()
        _ = try first.read(node)
        try first.awaitFlash()
        let fresh = Content.block(seed: 2, number: 0)
        try first.write(node, 20 * block, fresh)
        try first.truncate(node, 60 * block)
        let expected = Array(
            contents[..<(20 * block)] + fresh + contents[(21 * block)..<(60 * block)])
        let second = try restart(first)
        #expect(try second.datastore.lookup(parent: .root, name: "a").node == node)
        let met = try sources(second, node, expected)
        #expect(met.misses == 1)
        #expect(met.flash == 59)
    }

    @Test func whatOthersChangedMeanwhileIsNotReadFromFlash() throws {
        let first = try fixture()
        let node = try first.file("a", contents)
        let other = try first.file("b", Content.blocks(seed: 3, count: 8))
        try first.awaitFlash()
        _ = try (first.read(node), first.read(other))
        try first.awaitFlash()
        first.close()
        let fresh = Content.block(seed: 2, number: 0)
        try first.writeBehindItsBack("a", 5 * block, fresh)
        let second = try restart(first)
        #expect(try second.datastore.lookup(parent: .root, name: "a").node == node)
        #expect(try second.datastore.lookup(parent: .root, name: "b").node == other)
        let expected = Array(contents[..<(5 * block)] + fresh + contents[(6 * block)...])
        #expect(try sources(second, node, expected) == (0, 64))
        #expect(try sources(second, other, Content.blocks(seed: 3, count: 8)) == (8, 0))
    }

    /// Nothing is asked of the datastore, and the threads that wait for nothing leave it to others.
    @Test func flashIsReadByThreadsThatMayWaitForIt() throws {
        let first = try fixture()
        let node = try first.file("a", contents)
        try first.awaitFlash()
        _ = try first.read(node, 4 * block, 16 * block)
        try first.awaitFlash()
        let second = try restart(first)
        #expect(try second.datastore.lookup(parent: .root, name: "a").node == node)
        _ = try second.read(node, 4 * block, block)
        defer { WaitMode.set(.datastore) }
        WaitMode.set(.memory)
        #expect(try second.read(node, 4 * block, block).count == block)
        #expect(throws: Errno.mustReadFlash) { try second.read(node, 5 * block, block) }
        #expect(throws: Errno.mustWait) { try second.read(node, 40 * block, block) }
        WaitMode.set(.flash)
        #expect(
            try second.read(node, 5 * block, 10 * block)
                == Array(contents[(5 * block)..<(15 * block)]))
        #expect(throws: Errno.mustWait) { try second.read(node, 16 * block, 30 * block) }
    }

    @Test func aDeviceThatComesLateIsUsedWithoutWhatItKnew() throws {
        let first = try fixture()
        let node = try first.file("a", contents)
        try first.awaitFlash()
        _ = try first.read(node)
        try first.awaitFlash()
        first.close()
        rename(first.folder.path("flash"), first.folder.path("elsewhere"))
        let second = try Fixture(on: first.folder, flash: "flash")
        #expect(try second.datastore.lookup(parent: .root, name: "a").node == node)
        try second.write(node, 0, Content.block(seed: 2, number: 0))
        #expect(second.datastore.health().hasPrefix("degraded: flash is not used"))
        second.close()
        rename(first.folder.path("elsewhere"), first.folder.path("flash"))
        let third = try restart(second)
        #expect(try third.datastore.lookup(parent: .root, name: "a").node == node)
        let expected = Content.block(seed: 2, number: 0) + contents[block...]
        #expect(try sources(third, node, Array(expected)) == (0, 64))
        #expect(third.datastore.health() == "healthy")
    }

    @Test func whatIsDroppedIsGoneFromFlashToo() throws {
        let first = try fixture()
        let node = try first.file("a", contents)
        try first.awaitFlash()
        _ = try first.read(node)
        try first.awaitFlash()
        try first.datastore.drop(node)
        #expect(try sources(first, node, contents) == (0, 64))
    }
}
