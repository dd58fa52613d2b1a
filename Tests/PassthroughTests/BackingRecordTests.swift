import CLinux
import Glibc
import Passthrough
import Policy
import Syscalls
import TestSupport
import Testing

@Suite struct BackingRecordTests {
    init() { WaitMode.set(mayWait: true) }

    private func sample() throws -> BackingRecord {
        let folder = try TemporaryFolder()
        var record = try Backing(path: folder.path).record
        record.attributes = try Files.attributes(folder.path)
        var status = statvfs()
        #expect(statvfs(folder.path, &status) == 0)
        record.space = Space(status)
        record.health.state = .away
        record.health.silentSince = monotonicNanoseconds() - .seconds(30)
        record.health.illSince = record.health.silentSince
        record.health.transitions = 3
        for kind in 0..<3 { record.health.usual[kind] = 1000 + UInt64(kind) }
        return record
    }

    @Test func itComesBackWhole() throws {
        let record = try sample()
        #expect(record.bytes.count <= 432)
        let read = try #require(BackingRecord(bytes: record.bytes))
        #expect(read.rootHandle == record.rootHandle)
        #expect(read.hasHandles == record.hasHandles)
        #expect(read.isNetwork == record.isNetwork)
        #expect(read.isLocal && record.isLocal)
        #expect(read.mount == record.mount)
        #expect(read.space == record.space)
        #expect(read.space.status.f_blocks == record.space.status.f_blocks)
        #expect(read.attributes.inode == record.attributes.inode)
        #expect(read.attributes.mode == record.attributes.mode)
        #expect(read.attributes.changed_seconds == record.attributes.changed_seconds)
        #expect(read.attributes.changed_nanoseconds == record.attributes.changed_nanoseconds)
        #expect(read.health == record.health)
        #expect(read.bytes == record.bytes)
    }

    @Test func theLongestHandleFits() throws {
        var record = try sample()
        record.rootHandle = FileHandle(type: 1, bytes: [UInt8](repeating: 7, count: 128))
        #expect(record.bytes.count <= 432)
        #expect(BackingRecord(bytes: record.bytes) == record)
    }

    @Test func whatIsNoRecordIsRefused() throws {
        let bytes = try sample().bytes
        for count in 0..<bytes.count {
            #expect(BackingRecord(bytes: Array(bytes[..<count])) == nil)
        }
        #expect(BackingRecord(bytes: bytes + [0]) == nil)
        #expect(BackingRecord(bytes: [2] + bytes.dropFirst()) == nil)
        for bit in 0..<(bytes.count * 8) {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            _ = BackingRecord(bytes: damaged)
        }
    }

    /// A successor asks the folder nothing: even one that is no folder at all will do.
    @Test func withARecordNothingIsAsked() throws {
        let record = try sample()
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        close(ends[1])
        let backing = try Backing(root: ends[0], record: record)
        #expect(backing.rootHandle == record.rootHandle)
        #expect(backing.hasHandles == record.hasHandles)
        #expect(backing.health.isAway)
        #expect(backing.health.isSilent)
        #expect(backing.health.transitions == 3)
        #expect(backing.record.health.usual[2] == 1002)
        #expect(throws: Errno.self) { try Backing(root: -1, record: nil) }
    }
}
