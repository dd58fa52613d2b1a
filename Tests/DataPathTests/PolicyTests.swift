import CLinux
import Glibc
import Passthrough
import Policy
import Syscalls
import TestSupport
import Testing

@testable import DataPath

@Suite struct ReadPolicyTests {
    private let block = Content.blockSize
    private let contents = Content.blocks(seed: 1, count: 16)

    /// A fixture with folder/sub/file and other/.
    private func tree() throws -> (fixture: Fixture, node: NodeID) {
        let fixture = try Fixture()
        for name in ["folder", "folder/sub", "other"] { mkdir(fixture.backing(name), 0o755) }
        try Files.write(fixture.backing("folder/sub/file"), contents)
        return (fixture, try fixture.datastore.resolve(path: "folder/sub/file"))
    }

    @Test func bypassIsNeverCached() throws {
        let (fixture, node) = try tree()
        _ = try fixture.read(node)
        #expect(try fixture.statistics(node).cachedBytes == 16 * 4096)
        try fixture.datastore.setReadPolicy(.bypass, of: node)
        #expect(try fixture.statistics(node).cachedBytes == 0)
        for _ in 0..<2 { #expect(try fixture.read(node, 100, 8192) == Array(contents[100..<8292])) }
        let report = try fixture.statistics(node)
        #expect(report.bypassed == 6)
        #expect(report.misses == 16)
        #expect(report.hitsRAM == 0)
        #expect(report.backendReads == 3)
        #expect(report.cachedBytes == 0)
        fixture.withoutWaiting {
            #expect(throws: Errno.mustWait) { try fixture.read(node, 0, 4096) }
        }
        try fixture.datastore.setReadPolicy(nil, of: node)
        #expect(try fixture.read(node) == contents)
        #expect(try fixture.statistics(node).cachedBytes == 16 * 4096)
    }

    @Test func theNearestSettingHolds() throws {
        let (fixture, node) = try tree()
        let datastore = fixture.datastore
        let folder = try datastore.resolve(path: "folder")
        let sub = try datastore.resolve(path: "folder/sub")
        func policy() throws -> ReadPolicy { try datastore.readPolicy(of: node) }
        #expect(try policy() == .normal)
        try datastore.setReadPolicy(.bypass, of: .root)
        #expect(try policy() == .bypass)
        try datastore.setReadPolicy(.pin, of: folder)
        #expect(try policy() == .pin)
        try datastore.setReadPolicy(.normal, of: sub)
        #expect(try policy() == .normal)
        try datastore.setReadPolicy(.bypass, of: node)
        #expect(try policy() == .bypass)
        try datastore.setReadPolicy(nil, of: node)
        try datastore.setReadPolicy(nil, of: sub)
        #expect(try policy() == .pin)
        try datastore.setReadPolicy(nil, of: folder)
        #expect(try policy() == .bypass)
        try datastore.setReadPolicy(nil, of: .root)
        #expect(try policy() == .normal)
    }

    @Test func aPolicyFollowsTheFileAndAnInheritedOneThePlace() throws {
        let (fixture, node) = try tree()
        let datastore = fixture.datastore
        let sub = try datastore.resolve(path: "folder/sub")
        let other = try datastore.resolve(path: "other")
        try datastore.setReadPolicy(.bypass, of: other)
        #expect(try datastore.readPolicy(of: node) == .normal)
        try datastore.rename(
            parent: sub, name: "file", newParent: other, newName: "file", flags: 0)
        #expect(try datastore.readPolicy(of: node) == .bypass)
        try datastore.setReadPolicy(.pin, of: node)
        try datastore.rename(
            parent: other, name: "file", newParent: sub, newName: "new", flags: 0)
        #expect(try datastore.readPolicy(of: node) == .pin)
        // A folder takes what is below along.
        try datastore.setReadPolicy(nil, of: node)
        #expect(try datastore.readPolicy(of: node) == .normal)
        let folder = try datastore.resolve(path: "folder")
        try datastore.rename(
            parent: folder, name: "sub", newParent: other, newName: "sub", flags: 0)
        #expect(try datastore.readPolicy(of: node) == .bypass)
    }

    @Test func policiesOutliveTheServer() throws {
        var (fixture, node) = try tree()
        let folder = try fixture.datastore.resolve(path: "folder")
        try fixture.datastore.setReadPolicy(.bypass, of: folder)
        try fixture.datastore.setWritePolicy(.through, of: node)
        fixture = try fixture.reopened()
        // By its number, as an NFS client asks, before any name led there.
        #expect(try fixture.datastore.readPolicy(of: node) == .bypass)
        _ = try fixture.read(node)
        #expect(try fixture.statistics(node).bypassed == 16)
        try fixture.datastore.setReadPolicy(nil, of: folder)
        fixture = try fixture.reopened()
        #expect(try fixture.datastore.readPolicy(of: node) == .normal)
    }

    /// What an NFS server asks for by handles after a restart must not lose where a folder lies.
    @Test func aPolicyIsInheritedWithoutALookupByName() throws {
        var (fixture, node) = try tree()
        let folder = try fixture.datastore.resolve(path: "folder")
        let sub = try fixture.datastore.resolve(path: "folder/sub")
        mkdir(fixture.backing("folder/sub/deep"), 0o755)
        let deep = try fixture.datastore.resolve(path: "folder/sub/deep")
        try fixture.datastore.setReadPolicy(.bypass, of: folder)
        fixture = try fixture.reopened()
        #expect(try fixture.datastore.lookup(parent: deep, name: "..").node == sub)
        #expect(try fixture.datastore.readPolicy(of: sub) == .bypass)
        #expect(try fixture.datastore.readPolicy(of: node) == .bypass)
        #expect(try fixture.statistics(folder).reads == 0)
        _ = try fixture.read(node)
        #expect(try fixture.statistics(folder).reads == 1)
    }

    @Test func aPolicyStaysWhenOneOfTwoNamesGoes() throws {
        let (fixture, node) = try tree()
        let datastore = fixture.datastore
        let folder = try datastore.resolve(path: "folder")
        try datastore.setReadPolicy(.bypass, of: folder)
        #expect(link(fixture.backing("folder/sub/file"), fixture.backing("second")) == 0)
        datastore.identity.flush()
        datastore.inodes.remove(node)
        try datastore.unlink(parent: .root, name: "second")
        #expect(try datastore.readPolicy(of: node) == .bypass)
    }

    @Test func pinnedContentsStayWhileOthersGo() throws {
        let fixture = try Fixture(ram: 4 << 20)
        let pinned = try fixture.file("pinned", Content.blocks(seed: 1, count: 128))
        try fixture.datastore.setReadPolicy(.pin, of: pinned)
        _ = try fixture.read(pinned)
        for number in 0..<6 as Range<UInt64> {
            let node = try fixture.file(
                "f\(number)", Content.blocks(seed: 2 + number, count: 256))
            for _ in 0..<3 { _ = try fixture.read(node) }
        }
        #expect(fixture.datastore.report().evictions > 0)
        let met = try fixture.blocks(pinned) { _ = try fixture.read(pinned) }
        #expect(met.hits == 128)
    }
}

@Suite struct WritePolicyTests {
    /// A fixture with folder/file.
    private func tree() throws -> (fixture: Fixture, folder: NodeID, file: NodeID) {
        let fixture = try Fixture()
        mkdir(fixture.backing("folder"), 0o755)
        try Files.write(fixture.backing("folder/file"), Content.blocks(seed: 1, count: 1))
        let datastore = fixture.datastore
        return (
            fixture, try datastore.resolve(path: "folder"),
            try datastore.resolve(path: "folder/file")
        )
    }

    @Test func theNearestSettingHoldsAndThenTheMounts() throws {
        let (fixture, folder, file) = try tree()
        let datastore = fixture.datastore
        #expect(try datastore.writePolicy(of: file) == .through)
        datastore.setWritePolicy(.back)
        #expect(try datastore.writePolicy(of: file) == .back)
        try datastore.setWritePolicy(.through, of: folder)
        #expect(try datastore.writePolicy(of: file) == .through)
        #expect(try datastore.readPolicy(of: file) == .normal)
        try datastore.setWritePolicy(nil, of: folder)
        #expect(try datastore.writePolicy(of: file) == .back)
        datastore.setWritePolicy(.through)
        #expect(try datastore.writePolicy(of: file) == .through)
        // There is no log here.
        #expect(throws: Errno.invalid) { try datastore.setWritePolicy(.back, of: file) }
    }

    @Test func locksAndSwapNeverWaitInTheJournal() throws {
        let (fixture, folder, file) = try tree()
        let datastore = fixture.datastore
        datastore.setWritePolicy(.back)
        var name = "file"
        for (next, policy) in [
            ("vm-1.vswp", WritePolicy.through), ("vm-1.vmdk", .back), (".lck-0a00", .through),
            ("vm.lck", .through), ("vm.lck1", .back), ("lck-1", .back),
        ] {
            try datastore.rename(
                parent: folder, name: name, newParent: folder, newName: next, flags: 0)
            #expect(try datastore.writePolicy(of: file) == policy, "\(next)")
            name = next
        }
        // A folder may be called so.
        mkdir(fixture.backing("x.lck"), 0o755)
        let other = try datastore.resolve(path: "x.lck")
        #expect(try datastore.writePolicy(of: other) == .back)
    }

    @Test func changesWaitWhileTheDatastoreHoldsStill() throws {
        let (fixture, _, file) = try tree()
        let datastore = fixture.datastore
        try datastore.quiesce(deadline: monotonicNanoseconds() + .seconds(60))
        #expect(throws: Errno.busy) {
            try datastore.quiesce(deadline: monotonicNanoseconds() + .seconds(60))
        }
        let bytes = [UInt8](repeating: 7, count: 4096)
        let written = Condition(false)
        let writer = try Thread(name: "writer") {
            WaitMode.set(mayWait: true)
            let count = bytes.withUnsafeBytes { buffer in
                (try? datastore.write(
                    file, bytes: buffer, offset: 0, flags: 0, killSetID: false)) ?? 0
            }
            written.update { $0 = count == 4096 }
        }
        let isEarly = written.wait(until: monotonicNanoseconds() + .milliseconds(200)) {
            $0 ? true : nil
        }
        #expect(isEarly == nil, "it waits")
        #expect(try Files.read(fixture.backing("folder/file")) == Content.blocks(seed: 1, count: 1))
        datastore.release()
        writer.join()
        #expect(written.withLock { $0 })
        #expect(try Files.read(fixture.backing("folder/file")) == bytes)
    }
}
