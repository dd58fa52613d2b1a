import Glibc
import Passthrough
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// Folders with files that were removed while they were open. What an NFS client makes of these,
/// a name with `.nfs` until they are closed, the tests do in its place.
@Suite struct RemoveDirectoryTests {
    private let fixture: Fixture
    private let folder: NodeID
    private let kept = ".nfs0000000000abcdef00000001"

    init() throws {
        fixture = try Fixture()
        folder = try fixture.datastore.makeDirectory(
            parent: .root, name: "folder", mode: 0o755, caller: nobody
        ).node
    }

    private var datastore: Datastore { fixture.datastore }

    /// An open file that was removed, and that the datastore still has under the name `kept`.
    private func removedFile() throws -> NodeID {
        let entry = try datastore.makeTemporary(
            parent: folder, mode: 0o600, flags: O_RDWR, caller: nobody)
        let orphan = try #require(self.orphan(entry.node))
        let path = "/proc/self/fd/\(orphan.descriptor)"
        try #require(
            linkat(AT_FDCWD, path, AT_FDCWD, fixture.backing("folder/\(kept)"), AT_SYMLINK_FOLLOW)
                == 0)
        return entry.node
    }

    private func orphan(_ node: NodeID) -> BackingFile? {
        datastore.inodes.find(node)?.state.withLock { $0.orphan }
    }

    /// Milliseconds that the removal of the folder took, and what it threw.
    private func remove() -> (error: Errno?, took: UInt64) {
        let began = monotonicNanoseconds()
        var error: Errno?
        do throws(Errno) {
            try datastore.removeDirectory(parent: .root, name: "folder")
        } catch let thrown {
            error = thrown
        }
        return (error, (monotonicNanoseconds() - began) / 1_000_000)
    }

    @Test func theRemovalWaitsForRemovedFilesToBeClosed() throws {
        let node = try removedFile()
        let fixture = fixture
        let outcome = Mutex<Errno??>(nil)
        let thread = try Thread(name: "rmdir") {
            WaitMode.set(mayWait: true)
            var error: Errno?
            do throws(Errno) {
                try fixture.datastore.removeDirectory(parent: .root, name: "folder")
            } catch let thrown {
                error = thrown
            }
            outcome.withLock { $0 = .some(error) }
        }
        // Long enough for it to have seen that the folder is not empty.
        sleep(milliseconds: 100)
        #expect(outcome.withLock { $0 } == nil, "it did not wait")
        datastore.release(node, flags: 0)
        #expect(orphan(node) == nil)
        #expect(unlink(fixture.backing("folder/\(kept)")) == 0)
        thread.join()
        #expect(outcome.withLock { $0 } == .some(nil))
        #expect(try !Files.names(fixture.backing("")).contains("folder"))
    }

    @Test func aRemovedFileThatStaysOpenKeepsTheFolder() throws {
        let node = try removedFile()
        let (error, took) = remove()
        #expect(error == .notEmpty)
        #expect(took >= Limits.removalPatience && took < 10 * Limits.removalPatience)
        #expect(orphan(node) != nil)
    }

    /// Clients of ours keep files of their own under such names; another file is there to stay.
    @Test(arguments: [false, true])
    func whatNobodyRemovedIsNotWaitedFor(hasRemovedFile: Bool) throws {
        if hasRemovedFile { _ = try removedFile() }
        let name = hasRemovedFile ? "file" : kept
        _ = try datastore.makeNode(
            parent: folder, name: name, mode: S_IFREG | 0o644, device: 0, caller: nobody)
        let (error, took) = remove()
        #expect(error == .notEmpty)
        #expect(took < Limits.removalPatience)
    }

    /// A file that is being closed by another thread is still open.
    @Test func whatAnotherThreadIsClosingIsWaitedFor() throws {
        datastore.closing.update { $0.closers += 1 }
        let isClosed = Atomic<Bool>(false)
        let fixture = fixture
        let thread = try Thread(name: "waits") {
            fixture.datastore.closePending(until: monotonicNanoseconds() + .milliseconds(20_000))
            isClosed.store(true, ordering: .releasing)
        }
        sleep(milliseconds: 50)
        let isEarly = isClosed.load(ordering: .acquiring)
        #expect(!isEarly, "it did not wait")
        datastore.closing.update { $0.closers -= 1 }
        thread.join()
        let began = monotonicNanoseconds()
        datastore.closePending(until: began + .milliseconds(20_000))
        #expect(monotonicNanoseconds() - began < .milliseconds(10_000))
    }

    /// The last close while the file is being removed: whichever comes first, nothing stays open.
    @Test func aFileClosedDuringItsRemovalIsLetGo() throws {
        var random = SplitMix64(seed: 7)
        let fixture = fixture
        var kept = 0
        for number in 0..<800 {
            let node = try fixture.file("file\(number)", [1])
            _ = try datastore.open(node, flags: O_RDWR, killSetID: false)
            let pause = UInt64.random(in: 0..<150_000, using: &random)
            let begins = Atomic<Bool>(false)
            let thread = try Thread(name: "release") {
                while !begins.load(ordering: .acquiring) {}
                let until = monotonicNanoseconds() + pause
                while monotonicNanoseconds() < until {}
                fixture.datastore.release(node, flags: 0)
            }
            begins.store(true, ordering: .releasing)
            try datastore.unlink(parent: .root, name: "file\(number)")
            thread.join()
            if orphan(node) != nil { kept += 1 }
        }
        #expect(kept == 0)
    }
}
