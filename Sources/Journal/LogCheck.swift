import Devices
import Syscalls

/// What a reading of all of a log found; nothing is changed.
package struct LogCheck: Sendable {
    /// What is in the log of one file.
    package struct File: Equatable, Sendable {
        /// The file's node number.
        package let file: UInt64
        /// Its handle; empty when damage has taken it.
        package var handle: [UInt8] = []
        /// Records of any kind.
        package var records: UInt64 = 0
        /// Bytes of the file that records hold, each counted once.
        package var bytes: UInt64 = 0
    }

    /// What the valid header says: owner, uuid, sizes.
    package let header: LogHeader
    /// Copies of the header that are not valid.
    package let damagedHeaders: Int
    /// Checkpoints that are not valid; a power cut may leave one.
    package let damagedCheckpoints: Int
    /// The last life that has left anything; 0 for a log that was never used.
    package let life: UInt64
    /// Where what is not released begins, and where the log ends.
    package let range: Range<LogPosition>
    /// Records that are not released.
    package let records: UInt64
    /// Bytes that writers can fill.
    package let capacity: UInt64
    /// The files with records, those with most bytes first.
    package let files: [File]
    /// What is not as it was written.
    package let damage: [LogDamage]
    /// Bytes read from the device.
    package let bytesRead: UInt64

    /// Bytes of files that are nowhere but here.
    package var dirtyBytes: UInt64 { files.reduce(0) { $0 + $1.bytes } }

    /// Whether anything is not as it was written.
    package var isDamaged: Bool { damagedHeaders > 0 || !damage.isEmpty }

    /// Reads all that counts. `progress` is told how many bytes of how many are done. Throws what
    /// makes the log unusable.
    package init<Device: BlockDevice>(
        _ device: Device, progress: (UInt64, UInt64) -> Void = { _, _ in }
    ) throws(JournalProblem) {
        (header, damagedHeaders) = try LogHeader.read(from: device)
        guard let geometry = header.geometry else { throw .damagedHeader }
        guard device.size >= header.size else { throw .tooSmall }
        guard device.logicalBlockSize <= header.unit else {
            throw .blockSize(device.logicalBlockSize)
        }
        let seal = LogSeal(salt: header.salt)
        let (checkpoint, isSure) = try LogCheckpoint.read(from: device, geometry, seal)
        damagedCheckpoints = isSure ? 0 : 1
        var scan = LogScan(
            LogReader(device, geometry, seal), checkpoint, isSure: isSure, verifiesAll: true)
        var table: [UInt64: (file: File, ranges: [Range<UInt64>])] = [:]
        scan.run(progress: progress) { entry, handle in
            let number = entry.record.file
            table[number, default: (File(file: number), [])].file.records += 1
            if !handle.isEmpty { table[number]?.file.handle = handle }
            let (start, length) = (entry.record.offset, entry.record.length)
            if entry.record.kind == .data, length > 0, length <= UInt64.max - start {
                table[number]?.ranges.append(start..<start + length)
            }
        }
        files = table.values.map { file, ranges in
            var file = file
            file.bytes = Self.union(ranges)
            return file
        }
        .sorted { ($1.bytes, $0.file) < ($0.bytes, $1.file) }
        life = scan.life
        records = scan.records
        capacity = geometry.capacity
        range = scan.tail..<max(scan.tail, scan.end)
        var damage = scan.damage
        if let place = scan.reader.unreadable {
            let end = place + UInt64(geometry.unit)
            damage.append(LogDamage(range: place..<end, what: "the device does not read this"))
        }
        self.damage = damage
        bytesRead = scan.reader.bytesRead
    }

    private static func union(_ ranges: [Range<UInt64>]) -> UInt64 {
        var (bytes, end): (UInt64, UInt64) = (0, 0)
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound })
        where range.upperBound > end {
            bytes += range.upperBound - max(range.lowerBound, end)
            end = range.upperBound
        }
        return bytes
    }
}
