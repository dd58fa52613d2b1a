import Devices
import Syscalls

/// The last bytes of a segment that has ended.
struct SegmentFooter: Equatable {
    /// Where the segment begins.
    var start: LogPosition
    /// Where its last frame ends.
    var end: LogPosition
    /// Where the last frame before the segment ends.
    var previous: LogPosition
    /// The life of the server that wrote this …
    var life: UInt64
    /// … and of the one that wrote the frames.
    var frameLife: UInt64
    /// Everything before this position was durable when this was made.
    var durable: LogPosition
    /// Everything before this position was released then.
    var tail: LogPosition
    /// Bytes of the summary, which lies in front of the footer's unit, filled up to whole units.
    var length: Int
    var records: UInt32
    /// The checksum of the summary.
    var summary: UInt64 = 0

    static let size = 96
    private static let magic: UInt32 = 0x534a_4246  // FBJS

    init(
        start: LogPosition, end: LogPosition, previous: LogPosition, life: UInt64,
        frameLife: UInt64, durable: LogPosition, tail: LogPosition, length: Int,
        records: UInt32
    ) {
        self.previous = previous
        self.start = start
        self.end = end
        self.life = life
        self.frameLife = frameLife
        self.durable = durable
        self.tail = tail
        self.length = length
        self.records = records
    }

    /// Throws EIO unless the bytes are the footer of the segment that begins at `start`.
    init(
        _ bytes: UnsafeRawBufferPointer, start: LogPosition, _ geometry: LogGeometry,
        _ seal: LogSeal
    ) throws(Errno) {
        guard bytes.count >= Self.size else { throw .io }
        var reader = ByteReader(bytes)
        _ = try reader.take(UInt64.self)
        guard try reader.take(UInt32.self) == Self.magic else { throw .io }
        records = try reader.take(UInt32.self)
        self.start = try reader.take(UInt64.self)
        end = try reader.take(UInt64.self)
        previous = try reader.take(UInt64.self)
        life = try reader.take(UInt64.self)
        frameLife = try reader.take(UInt64.self)
        durable = try reader.take(UInt64.self)
        tail = try reader.take(UInt64.self)
        summary = try reader.take(UInt64.self)
        length = Int(try reader.take(UInt32.self))
        guard self.start == start, end >= start, end - start <= geometry.segmentSize,
            length <= geometry.summaryRoom,
            seal.isStamped(bytes, size: Self.size, at: start, life: life)
        else { throw .io }
    }

    /// Bytes at the segment's end that summary and footer take.
    func region(unit: Int) -> Int { (length + Self.size).roundedUp(to: unit) }

    /// Writes the footer, with the checksum of the summary's bytes.
    func encode(
        into bytes: UnsafeMutableRawBufferPointer, summary: UnsafeRawBufferPointer,
        _ seal: LogSeal
    ) {
        var writer = ByteWriter(bytes, at: 8)
        writer.put(Self.magic)
        writer.put(records)
        writer.put(start)
        writer.put(end)
        writer.put(previous)
        writer.put(life)
        writer.put(frameLife)
        writer.put(durable)
        writer.put(tail)
        writer.put(seal.checksum(summary, at: start, life: life))
        writer.put(UInt32(length))
        writer.put(UInt32(0))
        seal.stamp(bytes, size: Self.size, at: start, life: life)
    }
}

/// A record as recovery knows it.
struct LogEntry: Equatable {
    var record: JournalRecord
    var position: LogPosition
    /// Bytes of its payload.
    var payload: Int
}

/// What is known of a segment's records.
struct SegmentContents: Equatable {
    var entries: [LogEntry] = []
    /// Handles by file.
    var handles: [UInt64: [UInt8]] = [:]

    init() {}

    /// Decodes a summary; throws EIO where it makes no sense.
    init(summary bytes: UnsafeRawBufferPointer, start: LogPosition) throws(Errno) {
        var reader = ByteReader(bytes)
        var (files, ends): ([UInt64], [UInt64]) = ([], [])
        var (position, time) = (start, Timestamp())
        while !reader.isAtEnd {
            let first = try reader.take(UInt8.self)
            if first == 0 {
                let file = try reader.takeVarying()
                let count = try reader.takeVarying()
                guard count <= 255 else { throw .io }
                handles[file] = try reader.take(count: Int(count))
                files.append(file)
                ends.append(0)
                continue
            }
            guard let kind = JournalRecord.Kind(rawValue: first & 0x7f) else { throw .io }
            guard let index = Int(exactly: try reader.takeVarying()), index < files.count else {
                throw .io
            }
            position &+= try reader.takeVarying() &* 8
            var record = JournalRecord(kind, file: files[index])
            record.offset = ends[index] &+ UInt64(bitPattern: try reader.takeZigzag())
            guard let payload = Int32(exactly: try reader.takeVarying()) else { throw .io }
            record.length = first & 0x80 != 0 ? try reader.takeVarying() : UInt64(payload)
            record.time.seconds = time.seconds &+ (try reader.takeZigzag())
            let nanoseconds = Int64(time.nanoseconds) &+ (try reader.takeZigzag())
            guard let exact = UInt32(exactly: nanoseconds) else { throw .io }
            record.time.nanoseconds = exact
            entries.append(LogEntry(record: record, position: position, payload: Int(payload)))
            ends[index] = record.offset &+ record.length
            position &+= UInt64(RecordHeader.room(payload: Int(payload)))
            time = record.time
        }
    }
}

extension ByteReader {
    fileprivate mutating func takeVarying() throws(Errno) -> UInt64 {
        var number: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            let byte = try take(UInt8.self)
            number |= UInt64(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return number }
        }
        throw .io
    }

    fileprivate mutating func takeZigzag() throws(Errno) -> Int64 {
        let number = try takeVarying()
        return Int64(bitPattern: number >> 1) ^ -Int64(bitPattern: number & 1)
    }
}
