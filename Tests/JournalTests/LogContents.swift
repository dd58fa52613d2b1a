import Journal
import Syscalls
import TestSupport

/// A log whose records tell what they are: file and offset tell the bytes.
struct LogContents {
    let device: SimulatedLogDevice

    static let size = 128 << 10 + 8 * 32 << 10

    /// A formatted log; its header follows from the seed.
    init(
        seed: UInt64 = 1, sector: UInt32 = 512, segments: Int = 8, hasVolatileCache: Bool = true
    ) throws {
        device = SimulatedLogDevice(
            size: 128 << 10 + segments * 32 << 10, sector: sector, seed: seed,
            hasVolatileCache: hasVolatileCache)
        var header = LogHeader(
            size: device.size, segmentSize: 32 << 10, unit: sector == 512 ? 512 : 4096)
        header.uuid = Array(0..<16)
        header.salt = 0x0123_4567_89ab_cdef &+ seed
        try LogFormat.format(device, header)
    }

    init(_ device: SimulatedLogDevice) { self.device = device }

    static func payload(_ file: UInt64, _ offset: UInt64, _ count: Int) -> [UInt8] {
        var generator = SplitMix64(seed: file << 32 ^ offset)
        return generator.bytes(count)
    }

    static func handle(_ file: UInt64) -> [UInt8] { Array(repeating: UInt8(file), count: 28) }

    @discardableResult
    static func append(
        _ journal: Journal<SimulatedLogDevice>, _ file: UInt64, _ offset: UInt64, _ count: Int,
        isDurable: Bool = true
    ) throws(Errno) -> LogPosition {
        let bytes = payload(file, offset, count)
        let record = JournalRecord(
            .data, file: file, offset: offset, length: UInt64(count),
            time: Timestamp(seconds: Int64(offset), nanoseconds: UInt32(count)))
        let result = bytes.withUnsafeBytes { memory -> Result<LogPosition, Errno> in
            do throws(Errno) {
                return .success(
                    try journal.append(
                        record, handle: handle(file), payload: memory, isDurable: isDurable))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// What a recovery tells: positions by file and offset, in order. Everything wrong with the
    /// records themselves goes into `wrong`.
    struct Found {
        var order: [(file: UInt64, offset: UInt64)] = []
        var unreadable = 0
        var wrong: [String] = []
        var report = RecoveryReport()
    }

    /// Opens the log, recovers it and reads every payload. `needsHandles`: a missing one is wrong.
    func recovered(needsHandles: Bool = true) throws -> (Journal<SimulatedLogDevice>, Found) {
        let journal = try Journal(device)
        var found = Found()
        var records: [(JournalRecord, LogPosition)] = []
        found.report = try journal.recover { record, position, handle in
            records.append((record, position))
            found.order.append((record.file, record.offset))
            if handle != Self.handle(record.file) && (needsHandles || !handle.isEmpty) {
                found.wrong.append("handle of \(record)")
            }
        }
        for (record, position) in records {
            var bytes = [UInt8](repeating: 0, count: Int(record.length))
            do {
                try bytes.withUnsafeMutableBytes { try journal.read(position, skip: 0, into: $0) }
            } catch {
                found.unreadable += 1
                continue
            }
            if bytes != Self.payload(record.file, record.offset, bytes.count) {
                found.wrong.append("bytes of \(record)")
            }
        }
        return (journal, found)
    }
}
