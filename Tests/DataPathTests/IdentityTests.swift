import CLinux
import Glibc
import Passthrough
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// Clients' handles live longer than inodes, tables and servers.
@Suite struct IdentityTests {
    private let contents = Content.blocks(seed: 1, count: 4)

    /// A fixture with some files in folders, and their numbers.
    private func tree() throws -> (fixture: Fixture, nodes: [NodeID]) {
        let fixture = try Fixture()
        for name in ["a", "a/b", "a/b/c"] { mkdir(fixture.backing(name), 0o755) }
        let paths = ["top", "a/one", "a/b/two", "a/b/c/three"]
        for path in paths { try Files.write(fixture.backing(path), contents) }
        return (fixture, try (paths + ["a/b/c"]).map { try fixture.datastore.resolve(path: $0) })
    }

    @Test func anEvictedInodeComesBack() throws {
        let (fixture, nodes) = try tree()
        for node in nodes.dropLast() {
            _ = try fixture.read(node)
            fixture.datastore.inodes.remove(node)
            fixture.datastore.descriptors.remove(node)
            fixture.withoutWaiting {
                #expect(throws: Errno.mustWait) { _ = try fixture.read(node) }
            }
            #expect(try fixture.read(node) == contents)
        }
        fixture.datastore.inodes.remove(nodes[4])
        #expect(try fixture.datastore.lookup(parent: nodes[4], name: "three").node == nodes[3])
    }

    @Test func numbersStayOverARestartAndARename() throws {
        var (fixture, nodes) = try tree()
        #expect(rename(fixture.backing("a/b"), fixture.backing("moved")) == 0)
        fixture = try fixture.reopened()
        for node in nodes.dropLast() { #expect(try fixture.read(node) == contents) }
        #expect(try fixture.datastore.resolve(path: "moved/c/three") == nodes[3])
        // The table was complete: what is not in it was never given out.
        #expect(fixture.datastore.identity.wasComplete)
        #expect(throws: Errno.stale) { _ = try fixture.datastore.attributes(NodeID(12_345)) }
    }

    @Test func withoutItsTableEveryFileIsFoundAgain() throws {
        var (fixture, nodes) = try tree()
        fixture.close()
        for suffix in ["", "-wal", "-shm"] {
            unlink(fixture.folder.path("state/identity.db\(suffix)"))
        }
        fixture = try Fixture(on: fixture.folder)
        #expect(!fixture.datastore.identity.wasComplete)
        for node in nodes.dropLast() { #expect(try fixture.read(node) == contents) }
        #expect(throws: Errno.stale) { _ = try fixture.datastore.attributes(NodeID(12_345)) }
    }

    /// "Stale" would make a client give up a file that is there.
    @Test func beforeTheTreeIsKnownAnUnknownNumberIsToBeTriedLater() throws {
        let (fixture, _) = try tree()
        fixture.datastore.isTreeKnown.store(false, ordering: .releasing)
        let unknown = NodeID(12_345)
        // Each waits for a while, in case it is found.
        try concurrently(2) { number in
            WaitMode.set(mayWait: true)
            #expect(throws: Errno.timedOut) {
                if number == 0 {
                    _ = try fixture.datastore.attributes(unknown)
                } else {
                    _ = try fixture.datastore.lookup(parent: unknown, name: "x")
                }
            }
        }
        fixture.datastore.isTreeKnown.store(true, ordering: .releasing)
        #expect(throws: Errno.stale) { _ = try fixture.datastore.attributes(unknown) }
    }

    @Test func aFileThatIsGoneIsForgotten() throws {
        var (fixture, nodes) = try tree()
        fixture.close()
        unlink(fixture.backing("a/one"))
        try Files.write(fixture.backing("a/takes its number"), contents)
        fixture = try Fixture(on: fixture.folder)
        #expect(throws: Errno.stale) { _ = try fixture.datastore.attributes(nodes[1]) }
        #expect(fixture.datastore.identity.find(nodes[1]) == nil)
    }

    @Test func foldersInALoopOfADamagedTableAreStale() throws {
        let fixture = try Fixture()
        let handle = FileHandle(type: FileHandle.derivedType, bytes: [1, 2, 3])
        for (node, parent) in [(50, 51), (51, 52), (52, 50), (60, 60)] as [(UInt64, UInt64)] {
            fixture.datastore.identity.remember(
                NodeID(node), Identity(handle: handle, parent: parent, type: S_IFDIR, name: [65]))
        }
        for node in [50, 51, 60] as [UInt64] {
            #expect(throws: Errno.stale) { _ = try fixture.datastore.attributes(NodeID(node)) }
            _ = try? fixture.datastore.readPolicy(of: NodeID(node))
        }
    }

    @Test func twoFilesWithOneHashAreTwoFiles() throws {
        var fixture = try Fixture()
        try Files.write(fixture.backing("a"), "a")
        try Files.write(fixture.backing("b"), "b")
        let path = try OpenFile(fixture.backing("b"), O_RDONLY)
        let (handle, _) = try fixture.datastore.backing.identify(descriptor: path.raw)
        // Somebody else is known under the number that the second file would get.
        let other = FileHandle(type: handle.type, bytes: [1, 2, 3, 4, 5, 6, 7, 8])
        fixture.datastore.identity.remember(
            handle.nodeID(), Identity(handle: other, parent: 1, type: S_IFREG))
        let node = try fixture.datastore.lookup(parent: .root, name: "b").node
        #expect(node == handle.nodeID(salt: 1))
        #expect(try fixture.read(node) == Array("b".utf8))
        fixture = try fixture.reopened()
        #expect(try fixture.read(node) == Array("b".utf8))
        #expect(try fixture.datastore.lookup(parent: .root, name: "b").node == node)
    }
}
