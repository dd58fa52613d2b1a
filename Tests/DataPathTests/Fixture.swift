import CLinux
import Devices
import FlashTier
import Glibc
import Journal
import Passthrough
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// A datastore over a new folder, closed when the object goes.
final class Fixture: Sendable {
    let folder: TemporaryFolder
    let datastore: Datastore
    private let isClosed = Atomic<Bool>(false)

    /// Uses `folder`, from an earlier fixture, when there is one, and `frames` as the memory of the
    /// cache. Waits until the tree is known.
    init(
        ram: Int = 8 << 20, attributeTimeout: Double = 10, readOnly: Bool = false,
        on folder: TemporaryFolder? = nil, frames: Int32? = nil, bypass: BypassMode = .off,
        flash: String? = nil, log: String? = nil, destageDelay: Double = 5
    ) throws {
        WaitMode.set(mayWait: true)
        self.folder = try folder ?? TemporaryFolder("datapath")
        mkdir(self.folder.path("backing"), 0o755)
        var options = MountOptions(
            backing: self.folder.path("backing"), mountpoint: self.folder.path("mount"),
            name: "test", state: self.folder.path("state"), ram: ram,
            attributeTimeout: attributeTimeout, readOnly: readOnly)
        if let flash { options.flash = FlashOption(path: self.folder.path(flash)) }
        if let log {
            let path = self.folder.path(log)
            if !Files.exists(path) { try Self.formatLog(path) }
            options.log = LogOption(path: path)
            options.write = .back
            options.destageDelay = destageDelay
        }
        datastore = try Datastore(
            options: options,
            framesDescriptor: frames, counters: nil, bypass: bypass)
        let datastore = datastore
        try #require(eventually { datastore.isTreeKnown.load(ordering: .acquiring) })
    }

    /// A log of 64 MiB.
    private static func formatLog(_ path: String) throws {
        try Files.write(path, "")
        Glibc.truncate(path, 64 << 20)
        try LogFormat.format(FileDevice(path: path))
    }

    deinit { close() }

    /// Ends it in good order, once.
    func close() {
        if !isClosed.exchange(true, ordering: .relaxed) { datastore.close() }
    }

    /// Ends this one in good order and opens the same folder again.
    func reopened() throws -> Fixture {
        close()
        return try Fixture(on: folder)
    }

    /// The path of a file on the datastore itself.
    func backing(_ name: String) -> String { folder.path("backing/\(name)") }

    /// Makes a file on the datastore and looks it up.
    func file(_ name: String, _ bytes: [UInt8]) throws -> NodeID {
        try Files.write(backing(name), bytes)
        return try datastore.lookup(parent: .root, name: name).node
    }

    /// Reads through the datastore.
    func read(_ node: NodeID, _ offset: Int = 0, _ count: Int = 1 << 20) throws -> [UInt8] {
        var reply = ReadReply()
        defer { reply.reset() }
        try datastore.read(node, offset: UInt64(offset), count: count, into: &reply)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(reply.bytes)
        for piece in reply.vectors[1..<(reply.count + 1)] {
            bytes.append(
                contentsOf: UnsafeRawBufferPointer(start: piece.iov_base, count: piece.iov_len))
        }
        #expect(bytes.count == reply.bytes)
        return bytes
    }

    /// Writes through the datastore.
    func write(
        _ node: NodeID, _ offset: Int, _ bytes: [UInt8], flags: Int32 = 0
    ) throws {
        let written = try bytes.withUnsafeBytes { buffer in
            try datastore.write(
                node, bytes: buffer, offset: UInt64(offset), flags: flags, killSetID: false)
        }
        #expect(written == bytes.count)
    }

    /// Cuts or extends through the datastore.
    func truncate(_ node: NodeID, _ size: Int) throws {
        var change = AttributeChange()
        change.size = UInt64(size)
        let attributes = try datastore.setAttributes(node, change)
        #expect(attributes.size == UInt64(size))
    }

    /// Waits until flash serves, and everything that was read is stored.
    func awaitFlash() throws {
        let flash = try #require(datastore.flash)
        try #require(eventually { flash.tier?.phase == .on && flash.offers.isEmpty })
    }

    /// The counters of a node.
    func statistics(_ node: NodeID = .root) throws -> StatisticsReport {
        try datastore.statistics(of: node)
    }

    /// Blocks of all hits and of all misses while `body` runs.
    func blocks(
        _ node: NodeID, _ body: () throws -> Void
    ) throws -> (hits: UInt64, misses: UInt64) {
        let before = try statistics(node)
        try body()
        let after = try statistics(node)
        return (
            after.hitsRAM + after.hitsZero - before.hitsRAM - before.hitsZero,
            after.misses - before.misses
        )
    }

    /// Runs `body` as on a thread that must not wait for the datastore.
    func withoutWaiting(_ body: () throws -> Void) rethrows {
        WaitMode.set(mayWait: false)
        defer { WaitMode.set(mayWait: true) }
        try body()
    }

    /// As somebody else on the datastore: writes, and moves the time of the change on by at least
    /// a step of the file system's clock.
    func writeBehindItsBack(_ name: String, _ offset: Int, _ bytes: [UInt8]) throws {
        let before = try Files.attributes(backing(name))
        let file = try OpenFile(backing(name), O_WRONLY)
        _ = try eventually {
            try file.write(bytes, at: UInt64(offset))
            let now = try Files.attributes(backing(name))
            return (now.changed_seconds, now.changed_nanoseconds)
                != (before.changed_seconds, before.changed_nanoseconds)
        }
    }
}

let nobody = Caller(uid: 0, gid: 0)
