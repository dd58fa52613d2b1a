import CLinux
import Glibc
import Passthrough
import Policy
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// What can be changed while a datastore serves.
@Suite struct SettingsTests {
    private let contents = Content.blocks(seed: 1, count: 16)

    @Test func theCacheIsLeftAloneAndUsedAgain() throws {
        let fixture = try Fixture()
        let node = try fixture.file("file", contents)
        _ = try fixture.read(node)
        fixture.datastore.setBypass(.byCommand)
        #expect(fixture.datastore.report().health == "bypass: by command")
        var seen: [UInt8] = []
        let inside = try fixture.blocks(node) { seen = try fixture.read(node) }
        #expect(seen == contents)
        #expect(inside == (0, 0))
        var report = try fixture.statistics(node)
        #expect(report.bypassed == 16)
        #expect(report.cachedBytes == 16 * 4096, "it stays")
        #expect(try fixture.datastore.readPolicy(of: node) == .normal)
        #expect(try !fixture.datastore.open(node, flags: O_RDONLY, killSetID: false))
        fixture.datastore.setBypass(.off)
        #expect(fixture.datastore.report().health == "healthy")
        let after = try fixture.blocks(node) { seen = try fixture.read(node) }
        #expect(seen == contents)
        #expect(after == (16, 0))
        report = try fixture.statistics(node)
        #expect(report.bypassed == 16)
    }

    /// What is written, cut or changed by others meanwhile is not found as it was.
    @Test func nothingOldIsFoundAfterwards() throws {
        let fixture = try Fixture(attributeTimeout: 0)
        let node = try fixture.file("file", contents)
        let foreign = try fixture.file("foreign", contents)
        for node in [node, foreign] {
            _ = try fixture.datastore.open(node, flags: O_RDONLY, killSetID: false)
            _ = try fixture.read(node)
        }
        fixture.datastore.setBypass(.byCommand)
        var expected = contents
        let fresh = Content.blocks(seed: 2, count: 2)
        try fixture.write(node, 4096 * 3 + 100, fresh)
        expected.replaceSubrange((4096 * 3 + 100)..<(4096 * 5 + 100), with: fresh)
        try fixture.truncate(node, 4096 * 10 + 5)
        try fixture.truncate(node, 4096 * 16)
        for index in (4096 * 10 + 5)..<(4096 * 16) { expected[index] = 0 }
        try fixture.writeBehindItsBack("foreign", 4096, fresh)
        _ = try fixture.datastore.open(foreign, flags: O_RDONLY, killSetID: false)
        fixture.datastore.setBypass(.off)
        #expect(try fixture.read(node) == expected)
        var other = contents
        other.replaceSubrange(4096..<(4096 * 3), with: fresh)
        #expect(try fixture.read(foreign) == other)
        let hits = try fixture.blocks(node) { _ = try fixture.read(node) }
        #expect(hits == (16, 0))
    }

    /// The memory of the cache is not even mapped.
    @Test func anAutomaticBypassDoesWithoutTheMemory() throws {
        let folder = try TemporaryFolder("tierless")
        let frames = try SharedMemory.create(name: "frames", size: 16 << 20)
        defer { close(frames) }
        let datastore = try Datastore(
            options: MountOptions(
                backing: try folder.makeFolder("backing"), mountpoint: "/nowhere", name: "test",
                state: folder.path("state"), ram: 16 << 20),
            framesDescriptor: frames, counters: nil, bypass: .automatic)
        defer { datastore.close() }
        #expect(datastore.isTierless)
        #expect(datastore.report().health.hasPrefix("bypass: the server crashed"))
        let maps = try Files.text("/proc/self/maps")
        var status = stat()
        try call { fstat(frames, &status) }
        let inode = " \(status.st_ino) "
        #expect(!maps.split(separator: "\n").contains { $0.contains(inode) })
        #expect(maps.contains("/memfd:") == false || status.st_blocks == 0)
    }

    @Test func timeoutsHoldAtOnce() throws {
        let fixture = try Fixture()
        fixture.datastore.setTimeouts(attributes: 2.5, backend: 3)
        #expect(fixture.datastore.attributeTimeout == 2.5)
        #expect(fixture.datastore.waitLimit() == 3_000_000_000)
    }
}
