import CLinux
import Glibc
import Passthrough
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// Writes that are answered from the log, as clients see them and as the datastore does.
@Suite struct WriteBackTests {
    private static let old = [UInt8](repeating: 1, count: 20_000)
    private static let new = [UInt8](repeating: 2, count: 5_000)

    /// A datastore with a log, from which nothing is destaged unless somebody asks for it.
    private func fixture(on folder: TemporaryFolder? = nil) throws -> Fixture {
        try Fixture(on: folder, log: "log", destageDelay: 3600)
    }

    private func expected(_ offset: Int) -> [UInt8] {
        var bytes = Self.old
        bytes.replaceSubrange(offset..<offset + Self.new.count, with: Self.new)
        return bytes
    }

    @Test func aWriteIsSeenAtOnceAndReachesTheDatastoreWithAFlush() throws {
        let fixture = try fixture()
        let node = try fixture.file("disk", Self.old)
        #expect(try fixture.read(node) == Self.old)
        try fixture.write(node, 3_000, Self.new)
        #expect(try fixture.read(node) == expected(3_000))
        #expect(try fixture.read(node, 2_990, 20) == Array(expected(3_000)[2_990..<3_010]))
        #expect(try Files.read(fixture.backing("disk")) == Self.old)
        #expect(try fixture.statistics(node).dirtyBytes == 5_000)
        try fixture.datastore.flushAll(node)
        #expect(try Files.read(fixture.backing("disk")) == expected(3_000))
        #expect(try fixture.read(node) == expected(3_000))
        #expect(try fixture.statistics(node).dirtyBytes == 0)
    }

    @Test func itIsThereAfterARestart() throws {
        let first = try fixture()
        let node = try first.file("disk", Self.old)
        try first.write(node, 18_000, Self.new)
        try first.datastore.sync(node, dataOnly: false)
        first.close()
        #expect(try Files.read(first.backing("disk")) == Self.old)
        let second = try fixture(on: first.folder)
        #expect(try second.datastore.attributes(node).size == 23_000)
        let merged = Array(Self.old[..<18_000]) + Self.new
        #expect(try second.read(node) == merged)
        try second.datastore.flushAll(.root)
        #expect(try Files.read(second.backing("disk")) == merged)
    }

    /// The FSYNC behind a stable write needs no thread that may wait, and the one behind another
    /// write does.
    @Test func aSyncBehindAStableWriteWaitsForNothing() throws {
        let fixture = try fixture()
        let node = try fixture.file("disk", Self.old)
        let syncFromMemory = { () throws -> Void in
            try fixture.withoutWaiting { try fixture.datastore.sync(node, dataOnly: true) }
        }
        // Of a file that is new to this server nobody knows what an earlier one has left.
        try fixture.datastore.sync(node, dataOnly: true)
        try fixture.write(node, 0, Self.new, flags: O_DSYNC)
        try syncFromMemory()
        try fixture.write(node, 0, Self.new)
        #expect(throws: Errno.mustReadFlash) { try syncFromMemory() }
        try fixture.datastore.sync(node, dataOnly: true)
        try syncFromMemory()
    }

    @Test func sizeAndTimeAreThoseOfTheWrite() throws {
        let fixture = try fixture()
        let node = try fixture.file("disk", Self.old)
        let before = try fixture.datastore.attributes(node)
        _ = try eventually {
            try fixture.write(node, 100_000, Self.new)
            let now = try fixture.datastore.attributes(node)
            return (now.modified_seconds, now.modified_nanoseconds)
                > (before.modified_seconds, before.modified_nanoseconds)
        }
        let dirty = try fixture.datastore.attributes(node)
        #expect(dirty.size == 105_000)
        #expect(
            try fixture.datastore.lookup(parent: .root, name: "disk").attributes.size == 105_000)
        try fixture.datastore.flushAll(node)
        let clean = try Files.attributes(fixture.backing("disk"))
        #expect(clean.size == 105_000)
        #expect(clean.modified_seconds == dirty.modified_seconds)
        #expect(clean.modified_nanoseconds == dirty.modified_nanoseconds)
    }

    @Test func whatWasCutOffReadsAsZerosWhenTheFileGrowsAgain() throws {
        let fixture = try fixture()
        let node = try fixture.file("disk", Self.old)
        try fixture.write(node, 0, Self.new)
        try fixture.truncate(node, 7_000)
        try fixture.write(node, 15_000, Self.new)
        var model = Self.new + [UInt8](repeating: 1, count: 2_000)
        model += [UInt8](repeating: 0, count: 8_000) + Self.new
        #expect(try fixture.read(node) == model)
        #expect(try Files.read(fixture.backing("disk")) == Self.old)
        try fixture.datastore.flushAll(node)
        #expect(try Files.read(fixture.backing("disk")) == model)
        #expect(try fixture.read(node) == model)
    }

    @Test func holesAndDataAreFoundThroughTheLog() throws {
        let fixture = try fixture()
        let node = try fixture.file("disk", Self.old)
        try fixture.write(node, 1 << 20, Self.new)
        try fixture.datastore.allocate(node, mode: 3, offset: 4_096, length: 4_096)
        let seek = { (offset: Int, whence: Int32) throws -> UInt64 in
            try fixture.datastore.seek(node, offset: UInt64(offset), whence: whence)
        }
        #expect(try seek(0, 4) == 4_096)
        #expect(try seek(4_096, 3) == 8_192)
        #expect(try seek(30_000, 3) == 1 << 20)
        #expect(try seek(1 << 20, 4) == 1 << 20 + 5_000)
        #expect(throws: Errno(ENXIO)) { try seek(1 << 20 + 5_000, 3) }
        var model = Self.old
        model.replaceSubrange(4_096..<8_192, with: [UInt8](repeating: 0, count: 4_096))
        #expect(try fixture.read(node, 0, 20_000) == model)
        try fixture.datastore.flushAll(node)
        #expect(Array(try Files.read(fixture.backing("disk"))[..<20_000]) == model)
    }

    @Test func aRemovedFileLeavesNothingBehind() throws {
        let first = try fixture()
        let node = try first.file("disk", Self.old)
        try first.write(node, 0, Self.new)
        try first.datastore.unlink(parent: .root, name: "disk")
        #expect(try first.statistics().dirtyBytes == 0)
        first.close()
        let second = try fixture(on: first.folder)
        #expect(try second.statistics().dirtyBytes == 0)
        try second.datastore.flushAll(.root)
    }

    @Test func aRenamedFileKeepsItsData() throws {
        let first = try fixture()
        let node = try first.file("disk", Self.old)
        try first.write(node, 0, Self.new)
        try first.datastore.rename(
            parent: .root, name: "disk", newParent: .root, newName: "other", flags: 0)
        first.close()
        let second = try fixture(on: first.folder)
        let found = try second.datastore.lookup(parent: .root, name: "other")
        #expect(found.node == node)
        try second.datastore.flushAll(.root)
        #expect(try Files.read(second.backing("other")) == expected(0))
    }

    @Test func whatOthersChangedMeanwhileIsNotOverwritten() throws {
        let first = try fixture()
        let node = try first.file("disk", Self.old)
        try first.write(node, 0, Self.new)
        first.close()
        let foreign = [UInt8](repeating: 9, count: 30_000)
        try first.writeBehindItsBack("disk", 0, foreign)
        let second = try fixture(on: first.folder)
        try? second.datastore.flushAll(.root)
        #expect(try eventually { try second.statistics().dirtyBytes == 0 })
        #expect(try Files.read(second.backing("disk")) == foreign)
        #expect(try second.read(node) == foreign)
        let aside = try Files.names(second.folder.path("state/aside"))
        #expect(!aside.isEmpty)
    }

    @Test func policiesDecideWhichWayAWriteGoes() throws {
        let fixture = try fixture()
        let through = try fixture.file("through", Self.old)
        try fixture.datastore.setWritePolicy(.through, of: through)
        try fixture.write(through, 0, Self.new)
        #expect(try Files.read(fixture.backing("through")) == expected(0))
        for name in ["machine.vswp", ".lck-1234", "disk.lck"] {
            let node = try fixture.file(name, Self.old)
            try fixture.write(node, 0, Self.new)
            #expect(try Files.read(fixture.backing(name)) == expected(0), "\(name)")
        }
        // From back to through: what is in the log comes before what follows.
        let changed = try fixture.file("changed", Self.old)
        try fixture.write(changed, 0, Self.new)
        #expect(try Files.read(fixture.backing("changed")) == Self.old)
        try fixture.datastore.setWritePolicy(.through, of: changed)
        try fixture.write(changed, 2_500, Self.new)
        var model = expected(0)
        model.replaceSubrange(2_500..<7_500, with: Self.new)
        #expect(try Files.read(fixture.backing("changed")) == model)
    }

    @Test func nothingReachesTheDatastoreWhileItIsQuiescent() throws {
        let fixture = try fixture()
        let node = try fixture.file("disk", Self.old)
        try fixture.write(node, 0, Self.new)
        try fixture.datastore.quiesce(deadline: monotonicNanoseconds() + .seconds(10))
        #expect(try Files.read(fixture.backing("disk")) == expected(0))
        try fixture.write(node, 10_000, Self.new)
        #expect(try fixture.statistics(node).dirtyBytes == 5_000)
        let isDone = Atomic<Bool>(false)
        let flusher = try Thread(name: "flusher") {
            WaitMode.set(mayWait: true)
            try? fixture.datastore.flushAll(node)
            isDone.store(true, ordering: .relaxed)
        }
        sleep(milliseconds: 100)
        let wasDone = isDone.load(ordering: .relaxed)
        #expect(!wasDone)
        #expect(try Files.read(fixture.backing("disk")) == expected(0))
        fixture.datastore.release()
        flusher.join()
        #expect(try fixture.read(node) == Files.read(fixture.backing("disk")))
    }
}
