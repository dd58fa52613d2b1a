import CLinux
import Devices
import Glibc
import Journal
import Policy
import Syscalls
import TestSupport
import Testing

/// The log on a file, through the kernel.
@Suite struct LogFileTests {
    private static let folder = try? TemporaryFolder("log")

    /// A formatted file of its own for each test.
    private func file(_ name: String, _ size: UInt64) throws -> String {
        let path = try #require(Self.folder).path(name)
        let file = try OpenFile(path, O_RDWR | O_CREAT)
        try file.truncate(to: size)
        try LogFormat.format(try FileDevice(path: path))
        return path
    }

    private func append(
        _ journal: Journal<FileDevice>, _ offset: UInt64, _ bytes: [UInt8], isDurable: Bool
    ) throws -> LogPosition {
        let record = JournalRecord(.data, file: 9, offset: offset, length: UInt64(bytes.count))
        return try bytes.withUnsafeBytes { memory in
            try journal.append(record, handle: [1, 2], payload: memory, isDurable: isDurable)
        }
    }

    private func recovered(_ path: String) throws -> (Journal<FileDevice>, RecoveryReport, [UInt64])
    {
        let journal = try Journal(try FileDevice(path: path))
        var offsets: [UInt64] = []
        let report = try journal.recover { record, _, handle in
            #expect(handle == [1, 2])
            offsets.append(record.offset)
        }
        return (journal, report, offsets)
    }

    @Test func recordsOfAnySizeSurvive() throws {
        let path = try file("sizes", 64 << 20)
        var wanted: [UInt64] = []
        func first() throws {
            let (journal, _, _) = try recovered(path)
            for size in [0, 1, 511, 512, 4096, 65536, 65537, 1 << 20] {
                let bytes = LogContents.payload(9, UInt64(size), size)
                let position = try append(journal, UInt64(size), bytes, isDurable: size % 2 == 0)
                wanted.append(UInt64(size))
                var read = [UInt8](repeating: 0, count: size)
                try read.withUnsafeMutableBytes { try journal.read(position, skip: 0, into: $0) }
                #expect(read == bytes)
            }
            #expect(throws: Errno.busy) { _ = try FileDevice(path: path) }
        }
        try first()
        let (_, report, offsets) = try recovered(path)
        #expect(offsets == wanted)
        #expect(report.damage.isEmpty)
    }

    /// A recovery of a log of 4 KiB writes reads at most a hundredth of it, beside the segment
    /// where it ends and what it looks for behind that.
    @Test func aRecoveryReadsSummaries() throws {
        let path = try file("summaries", 64 << 20)
        let bytes = [UInt8](repeating: 7, count: 4096)
        var (count, used): (UInt64, UInt64) = (0, 0)
        func first() throws {
            let (journal, _, _) = try recovered(path)
            while journal.used < 42 << 20 {
                _ = try append(journal, count * 4096, bytes, isDurable: false)
                count += 1
            }
            try journal.flush()
            _ = try append(journal, count * 4096, bytes, isDurable: true)
            count += 1
            used = journal.used
        }
        try first()
        let (_, report, offsets) = try recovered(path)
        #expect(offsets == (0..<count).map { $0 * 4096 })
        #expect(report.bytesRead < used / 100 + 4 << 20 + 3 * 2 << 20)
        #expect(report.bytesRead > used / 1000)
    }

    /// What the kernel takes is made use of: a block of 4 KiB and its headers fill no two blocks.
    @Test(arguments: [512, 4096]) func aRecordTakesWholeUnits(unit: Int) throws {
        let path = try #require(Self.folder).path("unit-\(unit)")
        try OpenFile(path, O_RDWR | O_CREAT).truncate(to: 64 << 20)
        let device = try FileDevice(path: path)
        let smallest = Int(device.logicalBlockSize)
        #expect(smallest.nonzeroBitCount == 1 && smallest <= 4096)
        let header = LogHeader(size: device.size, segmentSize: 1 << 20, unit: unit)
        guard smallest <= unit else {
            try LogFormat.format(device)
            #expect(try Journal(device).header.unit == 4096)
            return
        }
        try LogFormat.format(device, header)
        let journal = try Journal(device)
        _ = try journal.recover { _, _, _ in }
        let bytes = LogContents.payload(9, 3, 4096)
        _ = try append(journal, 0, bytes, isDurable: true)
        let before = journal.head
        let position = try append(journal, 4096, bytes, isDurable: true)
        #expect(journal.head - before == (unit == 512 ? 4608 : 8192))
        var read = [UInt8](repeating: 0, count: 4096)
        try read.withUnsafeMutableBytes { try journal.read(position, skip: 0, into: $0) }
        #expect(read == bytes)
    }

    @Test func whetherAllIsDurableIsKnownWithoutTheLock() throws {
        let (journal, _, _) = try recovered(try file("durable", 64 << 20))
        #expect(journal.isAllDurable)
        _ = try append(journal, 0, [1], isDurable: true)
        #expect(journal.isAllDurable)
        _ = try append(journal, 1, [2], isDurable: false)
        #expect(!journal.isAllDurable)
        // What is durable itself is not, as long as something before it is not.
        _ = try append(journal, 2, [3], isDurable: true)
        #expect(journal.isAllDurable)
        _ = try append(journal, 3, [4], isDurable: false)
        try journal.flush()
        #expect(journal.isAllDurable)
    }

    @Test func whatTheKernelSaysOfACacheIsUnderstood() {
        #expect(WriteCache.isAbsent(text: "write through\n"))
        #expect(!WriteCache.isAbsent(text: "write back\n"))
        #expect(!WriteCache.isAbsent(text: ""))
        #expect(!WriteCache.isAbsent(device: 0))
    }
}
