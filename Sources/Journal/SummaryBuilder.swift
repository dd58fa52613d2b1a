import Devices
import Glibc

/// Collects what a segment's summary tells while the segment is written. Memory is allocated once.
struct SummaryBuilder {
    private let memory: BlockBuffer
    private(set) var used = 0
    private(set) var records: UInt32 = 0
    /// Files named so far, by the order of their names, and where the last change of each ended.
    private var files: [UInt64: Int] = [:]
    private var ends: [UInt64] = []
    private var position: LogPosition = 0
    private var time = Timestamp()

    /// Bytes of the largest entry with the name of its file: varying numbers of at most ten bytes.
    static let largestEntry = 80 + 16 + 132

    init(room: Int) {
        memory = BlockBuffer(blocks: room / 4096)
    }

    /// Begins with another segment.
    mutating func begin(at start: LogPosition) {
        used = 0
        records = 0
        files.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
        position = start
        time = Timestamp()
    }

    /// Whether one more entry fits.
    var hasRoom: Bool { used + Self.largestEntry + SegmentFooter.size <= memory.bytes.count }

    /// Bytes at the segment's end that are needed if one more entry is added.
    func room(unit: Int) -> Int {
        (used + Self.largestEntry + SegmentFooter.size).roundedUp(to: unit)
    }

    func isNamed(_ file: UInt64) -> Bool { files[file] != nil }

    /// Names a file; at most 132 bytes.
    mutating func name(_ file: UInt64, handle: some Collection<UInt8>) {
        files[file] = ends.count
        ends.append(0)
        put(byte: 0)
        put(file)
        put(UInt64(handle.count))
        for byte in handle { put(byte: byte) }
    }

    /// Adds a record of a file that has its name.
    mutating func add(_ record: JournalRecord, at position: LogPosition, payload: Int) {
        guard let index = files[record.file] else { return }
        let hasLength = record.length != UInt64(payload)
        put(byte: record.kind.rawValue | (hasLength ? 0x80 : 0))
        put(UInt64(index))
        put((position &- self.position) / 8)
        put(zigzag: Int64(bitPattern: record.offset &- ends[index]))
        put(UInt64(payload))
        if hasLength { put(record.length) }
        put(zigzag: record.time.seconds &- time.seconds)
        put(zigzag: Int64(record.time.nanoseconds) - Int64(time.nanoseconds))
        ends[index] = record.offset &+ record.length
        self.position = position + UInt64(RecordHeader.room(payload: payload))
        time = record.time
        records += 1
    }

    /// The bytes to be written at the segment's end; the footer is made by `footer` out of the
    /// summary's bytes.
    func region(
        unit: Int, _ footer: (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Void
    ) -> UnsafeRawBufferPointer {
        let length = (used + SegmentFooter.size).roundedUp(to: unit)
        let all = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[..<length])
        if let base = all.baseAddress { memset(base + used, 0, length - used) }
        footer(
            UnsafeRawBufferPointer(rebasing: all[..<used]),
            UnsafeMutableRawBufferPointer(rebasing: all[(length - SegmentFooter.size)...]))
        return UnsafeRawBufferPointer(all)
    }

    // MARK: - Numbers of varying length

    private mutating func put(byte: UInt8) {
        memory.bytes[used] = byte
        used += 1
    }

    /// Seven bits in a byte, the lowest first.
    private mutating func put(_ number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            put(byte: UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        put(byte: UInt8(rest))
    }

    private mutating func put(zigzag number: Int64) {
        put(UInt64(bitPattern: (number << 1) ^ (number >> 63)))
    }
}
