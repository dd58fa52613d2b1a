import CLinux
import Glibc
import Passthrough
import Syscalls
import TestSupport
import Testing

@testable import DataPath

@Suite struct NamespaceTests {
    private let fixture: Fixture
    private let contents = Content.blocks(seed: 1, count: 4)

    init() throws { fixture = try Fixture() }
    private var datastore: Datastore { fixture.datastore }

    @Test func creatingAndLookingUpGiveOneNumber() throws {
        let made = try datastore.create(
            parent: .root, name: "a", mode: 0o640, flags: O_RDWR | O_EXCL,
            caller: Caller(uid: 12, gid: 34))
        #expect(made.attributes.mode == S_IFREG | 0o640)
        #expect(made.attributes.uid == 12)
        #expect(made.attributes.gid == 34)
        #expect(try datastore.lookup(parent: .root, name: "a").node == made.node)
        #expect(throws: Errno.exists) {
            _ = try datastore.create(
                parent: .root, name: "a", mode: 0o640, flags: O_RDWR | O_EXCL, caller: nobody)
        }
        let again = try datastore.create(
            parent: .root, name: "a", mode: 0o600, flags: O_RDWR, caller: nobody)
        #expect(again.node == made.node)
        #expect(throws: Errno.noEntry) { _ = try datastore.lookup(parent: .root, name: "b") }
        #expect(throws: Errno.nameTooLong) {
            _ = try datastore.lookup(parent: .root, name: String(repeating: "x", count: 256))
        }
        #expect(throws: Errno.notDirectory) {
            _ = try datastore.lookup(parent: made.node, name: "b")
        }
    }

    /// What a kernel needs to find a file by an NFS handle.
    @Test func dotsLeadToTheFileItselfAndItsFolder() throws {
        let folder = try datastore.makeDirectory(
            parent: .root, name: "folder", mode: 0o755, caller: nobody)
        let sub = try datastore.makeDirectory(
            parent: folder.node, name: "sub", mode: 0o755, caller: nobody)
        let file = try datastore.makeNode(
            parent: sub.node, name: "file", mode: S_IFREG | 0o644, device: 0, caller: nobody)
        for node in [NodeID.root, folder.node, sub.node, file.node] {
            #expect(try datastore.lookup(parent: node, name: ".").node == node)
        }
        #expect(try datastore.lookup(parent: sub.node, name: "..").node == folder.node)
        #expect(try datastore.lookup(parent: folder.node, name: "..").node == .root)
        #expect(try datastore.lookup(parent: .root, name: "..").node == .root)
        // Also when only the number is known.
        let reopened = try fixture.reopened().datastore
        #expect(try reopened.lookup(parent: sub.node, name: "..").node == folder.node)
        #expect(try reopened.lookup(parent: file.node, name: ".").node == file.node)
    }

    @Test func aRemovedFileCanBeReadWhileItIsOpen() throws {
        let node = try fixture.file("a", contents)
        _ = try datastore.open(node, flags: O_RDWR, killSetID: false)
        try datastore.unlink(parent: .root, name: "a")
        #expect(try !Files.names(fixture.backing("")).contains("a"))
        #expect(try fixture.read(node) == contents)
        try fixture.write(node, 0, [1, 2])
        try fixture.truncate(node, 8192)
        #expect(try fixture.read(node, 0, 4) == [1, 2] + Array(contents[2..<4]))
        #expect(try datastore.attributes(node).links == 0)
        try datastore.sync(node, dataOnly: false)
        // The same name again is another file.
        let other = try fixture.file("a", [9])
        #expect(other != node)
        #expect(try fixture.read(other) == [9])
        datastore.release(node, flags: 0)
        try expectGone(node)
        #expect(try fixture.statistics().cachedBytes == 4096)
    }

    /// Another thread may be closing it just now, and attributes are believed for a moment.
    private func expectGone(_ node: NodeID) throws {
        datastore.closePending()
        let isGone = eventually {
            isStale { _ = try datastore.attributes(node) }
                && isStale { _ = try fixture.read(node) }
        }
        #expect(isGone)
    }

    private func isStale(_ body: () throws -> Void) -> Bool {
        do {
            try body()
            return false
        } catch {
            return error as? Errno == .stale
        }
    }

    @Test func aRemovedFileThatIsNotOpenIsStale() throws {
        let node = try fixture.file("a", contents)
        _ = try fixture.read(node)
        try datastore.unlink(parent: .root, name: "a")
        #expect(throws: Errno.stale) { _ = try datastore.attributes(node) }
        #expect(throws: Errno.stale) {
            _ = try datastore.open(node, flags: O_RDONLY, killSetID: false)
        }
        #expect(throws: Errno.noEntry) { _ = try datastore.lookup(parent: .root, name: "a") }
        #expect(throws: Errno.noEntry) { try datastore.unlink(parent: .root, name: "a") }
    }

    @Test func oneOfTwoNamesMayGo() throws {
        let node = try fixture.file("a", contents)
        let second = try datastore.link(node, newParent: .root, newName: "b")
        #expect(second.node == node)
        #expect(second.attributes.links == 2)
        try datastore.unlink(parent: .root, name: "a")
        #expect(try datastore.attributes(node).links == 1)
        #expect(try fixture.read(node) == contents)
        #expect(try datastore.lookup(parent: .root, name: "b").node == node)
    }

    @Test func aTemporaryFileCanBeNamed() throws {
        let made = try datastore.makeTemporary(
            parent: .root, mode: 0o600, flags: O_RDWR, caller: Caller(uid: 7, gid: 8))
        #expect(made.attributes.links == 0)
        #expect(made.attributes.uid == 7)
        try fixture.write(made.node, 0, contents)
        #expect(try fixture.read(made.node) == contents)
        #expect(try Files.names(fixture.backing("")).isEmpty)
        _ = try datastore.link(made.node, newParent: .root, newName: "named")
        datastore.release(made.node, flags: 0)
        datastore.closePending()
        #expect(try Files.read(fixture.backing("named")) == contents)
        #expect(try fixture.read(made.node) == contents)
        #expect(try datastore.lookup(parent: .root, name: "named").node == made.node)
        #expect(try fixture.reopened().read(made.node) == contents)
    }

    @Test func aTemporaryFileWithoutNameGoesWithItsLastUser() throws {
        let made = try datastore.makeTemporary(
            parent: .root, mode: 0o600, flags: O_RDWR, caller: nobody)
        try fixture.write(made.node, 0, contents)
        datastore.release(made.node, flags: 0)
        try expectGone(made.node)
    }

    @Test func renamingOverAnOpenFileLeavesItToItsUser() throws {
        let old = try fixture.file("old", contents)
        let new = try fixture.file("new", [1, 2, 3])
        _ = try datastore.open(old, flags: O_RDONLY, killSetID: false)
        try datastore.rename(
            parent: .root, name: "new", newParent: .root, newName: "old", flags: 0)
        #expect(try fixture.read(old) == contents)
        #expect(try fixture.read(new) == [1, 2, 3])
        #expect(try datastore.lookup(parent: .root, name: "old").node == new)
        #expect(throws: Errno.noEntry) { _ = try datastore.lookup(parent: .root, name: "new") }
        datastore.release(old, flags: 0)
        try expectGone(old)
    }

    @Test func aRenameThatFailsChangesNothing() throws {
        let file = try fixture.file("file", contents)
        mkdir(fixture.backing("folder"), 0o755)
        try Files.write(fixture.backing("folder/inside"), "")
        _ = try datastore.open(file, flags: O_RDWR, killSetID: false)
        #expect(throws: Errno.notDirectory) {
            try datastore.rename(
                parent: .root, name: "folder", newParent: .root, newName: "file", flags: 0)
        }
        #expect(throws: Errno.isDirectory) {
            try datastore.rename(
                parent: .root, name: "file", newParent: .root, newName: "folder", flags: 0)
        }
        #expect(throws: Errno.exists) {
            try datastore.rename(
                parent: .root, name: "file", newParent: .root, newName: "folder", flags: 1)
        }
        datastore.release(file, flags: 0)
        #expect(try fixture.read(file) == contents)
        #expect(try datastore.lookup(parent: .root, name: "file").node == file)
        #expect(try fixture.reopened().read(file) == contents)
    }

    @Test func exchangingSwapsTheNames() throws {
        let one = try fixture.file("one", [1])
        let two = try fixture.file("two", [2])
        try datastore.rename(
            parent: .root, name: "one", newParent: .root, newName: "two", flags: 2)
        #expect(try datastore.lookup(parent: .root, name: "one").node == two)
        #expect(try datastore.lookup(parent: .root, name: "two").node == one)
        #expect(try fixture.read(one) == [1])
    }

    @Test func foldersAreRemovedWhenTheyAreEmpty() throws {
        let folder = try datastore.makeDirectory(
            parent: .root, name: "d", mode: 0o700, caller: nobody)
        try Files.write(fixture.backing("d/f"), "")
        #expect(throws: Errno.notEmpty) { try datastore.removeDirectory(parent: .root, name: "d") }
        try datastore.unlink(parent: folder.node, name: "f")
        try datastore.removeDirectory(parent: .root, name: "d")
        // Whoever has it open still gets an answer.
        #expect(try datastore.attributes(folder.node).links == 0)
        #expect(throws: Errno.noEntry) { _ = try datastore.lookup(parent: .root, name: "d") }
        let file = try fixture.file("f", [])
        #expect(throws: Errno.notDirectory) {
            try datastore.removeDirectory(parent: .root, name: "f")
        }
        #expect(try datastore.attributes(file).links == 1)
    }

    @Test func symbolicLinksAreRead() throws {
        let link = try datastore.makeSymlink(
            parent: .root, name: "l", target: "some/where", caller: Caller(uid: 3, gid: 4))
        #expect(link.attributes.mode & S_IFMT == S_IFLNK)
        #expect(link.attributes.uid == 3)
        var buffer = [UInt8](repeating: 0, count: 100)
        let length = try buffer.withUnsafeMutableBytes { bytes in
            try datastore.readLink(link.node, into: bytes)
        }
        #expect(String(decoding: buffer[..<length], as: UTF8.self) == "some/where")
        // Its owner changes, not that of what it leads to.
        var change = AttributeChange()
        change.uid = 77
        #expect(try datastore.setAttributes(link.node, change).uid == 77)
    }

    @Test func aReadOnlyMountChangesNothing() throws {
        let node = try fixture.file("a", contents)
        let readOnly = try Fixture(readOnly: true, on: fixture.folder)
        let datastore = readOnly.datastore
        #expect(try readOnly.read(node) == contents)
        #expect(throws: Errno.readOnly) { try readOnly.write(node, 0, [1]) }
        #expect(throws: Errno.readOnly) { try readOnly.truncate(node, 1) }
        #expect(throws: Errno.readOnly) { try datastore.unlink(parent: .root, name: "a") }
        #expect(throws: Errno.readOnly) {
            _ = try datastore.open(node, flags: O_WRONLY, killSetID: false)
        }
        #expect(throws: Errno.readOnly) {
            _ = try datastore.makeDirectory(
                parent: .root, name: "d", mode: 0o700, caller: nobody)
        }
        #expect(try Files.read(fixture.backing("a")) == contents)
    }
}
