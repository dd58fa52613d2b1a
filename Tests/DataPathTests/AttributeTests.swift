import CLinux
import Glibc
import Passthrough
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import DataPath

@Suite struct AttributeTests {
    private let fixture: Fixture
    private let node: NodeID

    init() throws {
        fixture = try Fixture()
        node = try fixture.file("a", [UInt8](repeating: 1, count: 5000))
    }
    private var datastore: Datastore { fixture.datastore }

    @Test func eachChangeIsMade() throws {
        var change = AttributeChange()
        change.mode = 0o4711
        change.uid = 11
        change.gid = 22
        change.accessed = .at(seconds: -5, nanoseconds: 999_999_999)
        change.modified = .at(seconds: 1 << 32, nanoseconds: 0)
        change.size = 4000
        for attributes in [
            try datastore.setAttributes(node, change), try datastore.attributes(node),
            try Files.attributes(fixture.backing("a")),
        ] {
            #expect(attributes.mode == S_IFREG | 0o4711)
            #expect(attributes.uid == 11)
            #expect(attributes.gid == 22)
            #expect(attributes.size == 4000)
            #expect(attributes.accessed_seconds == -5)
            #expect(attributes.accessed_nanoseconds == 999_999_999)
            #expect(attributes.modified_seconds == 1 << 32)
        }
        // What is not asked for stays.
        change = AttributeChange()
        change.accessed = .now
        let attributes = try datastore.setAttributes(node, change)
        #expect(attributes.accessed_seconds > 1_600_000_000)
        #expect(attributes.modified_seconds == 1 << 32)
        #expect(attributes.uid == 11)
    }

    @Test func aWriteTakesRightsAwayWhenItIsTold() throws {
        let cases: [(mode: UInt32, left: UInt32)] = [
            (0o6755, 0o755), (0o2745, 0o745), (0o4644, 0o644), (0o600, 0o600),
        ]
        for (mode, left) in cases {
            var change = AttributeChange()
            change.mode = mode
            _ = try datastore.setAttributes(node, change)
            let written = try [UInt8](repeating: 1, count: 16).withUnsafeBytes { bytes in
                try datastore.write(node, bytes: bytes, offset: 0, flags: 0, killSetID: true)
            }
            #expect(written == 16)
            #expect(try datastore.attributes(node).mode & 0o7777 == left)
        }
    }

    @Test func attributesAreFreshAfterOurOwnChanges() throws {
        _ = try datastore.attributes(node)
        fixture.withoutWaiting {
            // Just learnt: answered from memory.
            #expect((try? datastore.attributes(node).size) == 5000)
        }
        try fixture.write(node, 9000, [1])
        fixture.withoutWaiting {
            #expect(throws: Errno.mustWait) { _ = try datastore.attributes(node) }
        }
        #expect(try datastore.attributes(node).size == 9001)
        _ = try datastore.link(node, newParent: .root, newName: "b")
        #expect(try datastore.attributes(node).links == 2)
    }

    @Test func nothingIsChangedByAThreadThatMayNotWait() throws {
        let datastore = datastore
        fixture.withoutWaiting {
            #expect(throws: Errno.mustWait) { try fixture.write(node, 0, [1]) }
            #expect(throws: Errno.mustWait) { try fixture.truncate(node, 0) }
            #expect(throws: Errno.mustWait) { try datastore.unlink(parent: .root, name: "a") }
            #expect(throws: Errno.mustWait) {
                _ = try datastore.lookup(parent: .root, name: "a")
            }
            #expect(throws: Errno.mustWait) { try datastore.sync(node, dataOnly: true) }
            #expect(throws: Errno.mustWait) { _ = try datastore.fileSystem() }
            #expect(throws: Errno.mustWait) {
                _ = try datastore.open(node, flags: O_RDONLY, killSetID: false)
            }
        }
        #expect(try Files.attributes(fixture.backing("a")).size == 5000)
    }

    @Test func extendedAttributesPassThrough() throws {
        let value = [UInt8](0..<200)
        try value.withUnsafeBytes { bytes in
            try datastore.setXattr(node, name: "user.one", value: bytes, flags: 0)
        }
        #expect(try Files.xattr(fixture.backing("a"), "user.one") == value)
        #expect(try xattr("user.one", room: 0).length == 200)
        #expect(try xattr("user.one", room: 300).bytes == value)
        #expect(throws: Errno.range) { _ = try xattr("user.one", room: 100) }
        #expect(throws: Errno.noData) { _ = try xattr("user.two", room: 100) }
        #expect(throws: Errno.exists) {
            try value.withUnsafeBytes { bytes in
                // XATTR_CREATE of setxattr(2).
                try datastore.setXattr(node, name: "user.one", value: bytes, flags: 1)
            }
        }
        var names = [UInt8](repeating: 0, count: 1000)
        let length = try names.withUnsafeMutableBytes { bytes in
            try datastore.listXattr(node, into: bytes)
        }
        #expect(String(decoding: names[..<length], as: UTF8.self).contains("user.one\0"))
        try datastore.removeXattr(node, name: "user.one")
        #expect(throws: Errno.noData) { _ = try xattr("user.one", room: 0) }
    }

    private func xattr(
        _ name: String, room: Int
    ) throws -> (length: Int, bytes: [UInt8]) {
        var buffer = [UInt8](repeating: 0, count: room)
        let length = try buffer.withUnsafeMutableBytes { bytes in
            try datastore.getXattr(node, name: name, into: bytes)
        }
        return (length, Array(buffer.prefix(length)))
    }

    @Test func statisticsCoverFileFolderAndAll() throws {
        mkdir(fixture.backing("d"), 0o755)
        mkdir(fixture.backing("d/e"), 0o755)
        try Files.write(fixture.backing("d/e/b"), [UInt8](repeating: 2, count: 8192))
        let inner = try datastore.resolve(path: "d/e/b")
        _ = try (fixture.read(node), fixture.read(inner), fixture.read(inner))
        try fixture.write(inner, 0, [1, 2, 3])
        let folder = try fixture.statistics(try datastore.resolve(path: "d"))
        #expect(folder.reads == 2)
        #expect(folder.misses == 2)
        #expect(folder.hitsRAM == 2)
        #expect(folder.writeBytes == 3)
        #expect(folder.cachedBytes == 4096)
        let root = try fixture.statistics(.root)
        #expect(root.reads == 3)
        #expect(root.misses == 4)
        #expect(root.cachedBytes == 3 * 4096)
        #expect(try fixture.statistics(node).reads == 1)
        #expect(throws: Errno.stale) { _ = try fixture.statistics(NodeID(99)) }
        let report = datastore.report()
        #expect(report.health == "healthy")
        // Equal but for one that was superseded: two distinct contents of the first file, one of
        // the second.
        #expect(report.uniqueBytesRAM == 3 * 4096)
        #expect(report.inodes >= 5)
        #expect(report.budgetBytes == 8 << 20)
    }

    @Test func theFileSystemsSizesAreTheDatastores() throws {
        let found = try datastore.fileSystem()
        var expected = statvfs()
        #expect(statvfs(fixture.folder.path, &expected) == 0)
        #expect(found.f_blocks == expected.f_blocks)
        #expect(found.f_bsize == expected.f_bsize)
        #expect(found.f_namemax == 255)
    }

    /// A successor that starts in a silence asks nothing and knows what its predecessor knew.
    @Test func aSuccessorBeginsWithoutAsking() throws {
        var record = datastore.backing.record
        record.attributes = try datastore.attributes(.root)
        record.space = Space(try datastore.fileSystem())
        record.health.state = .away
        record.health.silentSince = monotonicNanoseconds() - .seconds(60)
        record.health.illSince = record.health.silentSince
        // Whoever asks a pipe for a folder gets an error.
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        close(ends[1])
        let successor = try Datastore(
            options: MountOptions(
                backing: "/nowhere", mountpoint: "/nowhere", name: "successor",
                state: fixture.folder.path("other"), ram: 8 << 20),
            root: ends[0], record: record.bytes, framesDescriptor: nil, counters: nil)
        defer { successor.close() }
        successor.mayProbe.store(false, ordering: .relaxed)
        #expect(successor.waitLimit() == .seconds(1))
        try fixture.withoutWaiting { () throws in
            #expect(try successor.attributes(.root).inode == record.attributes.inode)
            #expect(try successor.fileSystem().f_blocks == UInt(record.space.blocks))
        }
        let kept = Mutex<[UInt8]>([])
        successor.onRecord { bytes in kept.withLock { $0 = bytes } }
        let again = try #require(BackingRecord(bytes: kept.withLock { $0 }))
        #expect(again.rootHandle == record.rootHandle)
        #expect(again.space == record.space)
        #expect(again.health.state == .away)
    }

    /// What a slow datastore would take long to say again is told from memory for longer.
    @Test func aSlowDatastoreIsAskedLessOften() throws {
        var record = datastore.backing.record
        record.health.state = .degraded(.slow)
        let slow = try Datastore(
            options: MountOptions(
                backing: fixture.folder.path("backing"), mountpoint: "/nowhere", name: "slow",
                state: fixture.folder.path("other"), ram: 8 << 20),
            root: dup(datastore.backing.root.descriptor), record: record.bytes,
            framesDescriptor: nil, counters: nil)
        defer { slow.close() }
        for (datastore, isKnown) in [(slow, true), (datastore, false)] {
            let node = try datastore.lookup(parent: .root, name: "a").node
            sleep(milliseconds: 300)
            try fixture.withoutWaiting { () throws in
                if isKnown {
                    #expect(try datastore.attributes(node).size == 5000)
                } else {
                    #expect(throws: Errno.mustWait) { _ = try datastore.attributes(node) }
                }
            }
        }
        #expect(slow.report().health.hasPrefix("degraded: "))
    }

    /// While the datastore is silent, what is known is told, and what is cached is read.
    @Test func aSilentDatastoreIsAnsweredForFromMemory() throws {
        let datastore = datastore
        _ = try datastore.open(node, flags: O_RDONLY, killSetID: false)
        _ = try fixture.read(node)
        datastore.mayProbe.store(false, ordering: .relaxed)
        let isOver = Condition(false)
        let held = try Thread(name: "held") {
            let mark = datastore.backing.health.begin()
            _ = isOver.wait { $0 ? true : nil }
            datastore.backing.health.end(mark)
        }
        #expect(eventually { datastore.datastoreIsSilent() })
        #expect(datastore.report().health.hasPrefix("degraded: "))
        try fixture.withoutWaiting { () throws in
            #expect(try datastore.lookup(parent: .root, name: "a").node == node)
            #expect(try datastore.attributes(node).size == 5000)
            #expect(try datastore.open(node, flags: O_RDONLY, killSetID: false))
            #expect(try fixture.read(node).count == 5000)
            #expect(throws: Errno.mustWait) {
                _ = try datastore.lookup(parent: .root, name: "unknown")
            }
        }
        isOver.update { $0 = true }
        held.join()
        #expect(!datastore.datastoreIsSilent())
        #expect(datastore.report().health == "healthy")
        #expect(datastore.report().healthTransitions == 2)
        #expect(datastore.waitLimit() == .seconds(60))
    }
}
