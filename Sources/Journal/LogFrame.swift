import Devices
import Syscalls

/// What stands in front of each device write of the log.
struct FrameHeader: Equatable {
    var position: LogPosition
    /// The life of the server that wrote it.
    var life: UInt64
    /// Everything before this position was durable when the frame was made.
    var durable: LogPosition
    /// Everything before this position was released then.
    var tail: LogPosition
    /// Where the frame before this one ends.
    var previous: LogPosition
    /// Bytes of the frame with this header, before it is filled up to whole units.
    var length: Int
    var records: UInt32

    static let size = 64
    private static let magic: UInt32 = 0x464a_4246  // FBJF

    init(
        position: LogPosition, life: UInt64, durable: LogPosition, tail: LogPosition,
        previous: LogPosition, length: Int, records: UInt32
    ) {
        self.position = position
        self.life = life
        self.durable = durable
        self.tail = tail
        self.previous = previous
        self.length = length
        self.records = records
    }

    /// Throws EIO unless the bytes are a header that was written to this position.
    init(
        _ bytes: UnsafeRawBufferPointer, at position: LogPosition, _ seal: LogSeal
    ) throws(Errno) {
        guard bytes.count >= Self.size else { throw .io }
        var reader = ByteReader(bytes)
        _ = try reader.take(UInt64.self)
        guard try reader.take(UInt32.self) == Self.magic else { throw .io }
        records = try reader.take(UInt32.self)
        self.position = try reader.take(UInt64.self)
        life = try reader.take(UInt64.self)
        durable = try reader.take(UInt64.self)
        tail = try reader.take(UInt64.self)
        previous = try reader.take(UInt64.self)
        length = Int(try reader.take(UInt32.self))
        guard self.position == position, length >= Self.size,
            seal.isStamped(bytes, size: Self.size, at: position, life: life)
        else { throw .io }
    }

    func encode(into bytes: UnsafeMutableRawBufferPointer, _ seal: LogSeal) {
        var writer = ByteWriter(bytes, at: 8)
        writer.put(Self.magic)
        writer.put(records)
        writer.put(position)
        writer.put(life)
        writer.put(durable)
        writer.put(tail)
        writer.put(previous)
        writer.put(UInt32(length))
        writer.put(UInt32(0))
        seal.stamp(bytes, size: Self.size, at: position, life: life)
    }
}

/// What stands in front of each record's payload.
struct RecordHeader: Equatable {
    /// Nil for a record that names a file: its payload is the handle.
    var kind: JournalRecord.Kind?
    var record: JournalRecord
    /// Bytes of the payload, which follows; the next record begins at a multiple of eight.
    var payload: Int
    var payloadChecksum: UInt64 = 0
    /// The life of the server that wrote it.
    var life: UInt64

    static let size = 64

    /// Bytes that the record takes with its payload.
    static func room(payload: Int) -> Int { size + payload.roundedUp(to: 8) }

    init(kind: JournalRecord.Kind?, record: JournalRecord, payload: Int, life: UInt64) {
        self.life = life
        self.kind = kind
        self.record = record
        self.payload = payload
    }

    /// Throws EIO unless the bytes are a header that was written to this position.
    init(
        _ bytes: UnsafeRawBufferPointer, at position: LogPosition, _ seal: LogSeal
    ) throws(Errno) {
        guard bytes.count >= Self.size else { throw .io }
        var reader = ByteReader(bytes)
        _ = try reader.take(UInt64.self)
        payloadChecksum = try reader.take(UInt64.self)
        let number = try reader.take(UInt8.self)
        kind = JournalRecord.Kind(rawValue: number)
        guard kind != nil || number == 0 else { throw .io }
        _ = try reader.take(count: 3)
        payload = Int(try reader.take(UInt32.self))
        record = JournalRecord(kind ?? .data, file: try reader.take(UInt64.self))
        record.offset = try reader.take(UInt64.self)
        record.length = try reader.take(UInt64.self)
        record.time.seconds = try reader.take(Int64.self)
        record.time.nanoseconds = try reader.take(UInt32.self)
        life = UInt64(try reader.take(UInt32.self))
        guard seal.isStamped(bytes, size: Self.size, at: position, life: life) else {
            throw .io
        }
    }

    /// Whether these are the bytes of its payload.
    func matches(
        _ bytes: Slice<UnsafeRawBufferPointer>, at position: LogPosition, _ seal: LogSeal
    ) -> Bool {
        bytes.count == payload
            && payloadChecksum == seal.checksum(bytes, at: position, life: life)
    }

    func encode(
        into bytes: UnsafeMutableRawBufferPointer, at position: LogPosition, _ seal: LogSeal
    ) {
        var writer = ByteWriter(bytes, at: 8)
        writer.put(payloadChecksum)
        writer.put(kind?.rawValue ?? 0)
        writer.put(UInt8(0))
        writer.put(UInt16(0))
        writer.put(UInt32(payload))
        writer.put(record.file)
        writer.put(record.offset)
        writer.put(record.length)
        writer.put(record.time.seconds)
        writer.put(record.time.nanoseconds)
        writer.put(UInt32(truncatingIfNeeded: life))
        seal.stamp(bytes, size: Self.size, at: position, life: life)
    }
}
