import Devices
import ReadCache
import Syscalls

/// One change of the block map as it stands in the log (docs/on-disk-format.md, map log).
enum LogRecord: Equatable {
    /// What an address must find in its slot to count.
    struct Place: Equatable {
        var address: FlashAddress
        var word: UInt32
    }

    case file(index: UInt32, identity: UInt64, sample: FileSample)
    case drop(index: UInt32)
    case set(index: UInt32, block: UInt64, Place)
    case run(index: UInt32, run: UInt64, mask: UInt16, [Place])
    case mark(WriteMark)
    case clear(WriteMark)

    /// Whether without it what was known before is wrong, or nothing is known of a whole file.
    var isVital: Bool {
        switch self {
        case .file, .mark, .drop: true
        case .set, .run, .clear: false
        }
    }

    /// Bytes of a file's record.
    static let fileLength = 45

    /// Bytes of its encoded form.
    var length: Int {
        switch self {
        case .file: Self.fileLength
        case .drop: 5
        case .set: 21
        case .run(_, _, _, let places): 15 + 8 * places.count
        case .mark, .clear: 13
        }
    }

    func put(into writer: inout ByteWriter) {
        switch self {
        case .file(let index, let identity, let sample):
            writer.put(UInt8(1))
            writer.put(index)
            writer.put(identity)
            writer.put(sample.size)
            writer.put(sample.modifiedSeconds)
            writer.put(sample.modifiedNanoseconds)
            writer.put(sample.changedSeconds)
            writer.put(sample.changedNanoseconds)
        case .drop(let index):
            writer.put(UInt8(2))
            writer.put(index)
        case .set(let index, let block, let place):
            writer.put(UInt8(3))
            writer.put(index)
            writer.put(block)
            place.put(into: &writer)
        case .run(let index, let run, let mask, let places):
            writer.put(UInt8(4))
            writer.put(index)
            writer.put(run)
            writer.put(mask)
            for place in places { place.put(into: &writer) }
        case .mark(let mark):
            writer.put(UInt8(5))
            mark.put(into: &writer)
        case .clear(let mark):
            writer.put(UInt8(6))
            mark.put(into: &writer)
        }
    }

    /// The next record of a page. Throws EIO when it is none.
    init(from reader: inout ByteReader) throws(Errno) {
        switch try reader.take(UInt8.self) {
        case 1:
            let index = try reader.take(UInt32.self)
            let identity = try reader.take(UInt64.self)
            let sample = FileSample(
                size: try reader.take(UInt64.self),
                modifiedSeconds: try reader.take(Int64.self),
                modifiedNanoseconds: try reader.take(UInt32.self),
                changedSeconds: try reader.take(Int64.self),
                changedNanoseconds: try reader.take(UInt32.self))
            self = .file(index: index, identity: identity, sample: sample)
        case 2: self = .drop(index: try reader.take(UInt32.self))
        case 3:
            let index = try reader.take(UInt32.self)
            let block = try reader.take(UInt64.self)
            self = .set(index: index, block: block, try Place(from: &reader))
        case 4:
            let index = try reader.take(UInt32.self)
            let run = try reader.take(UInt64.self)
            let mask = try reader.take(UInt16.self)
            var places: [Place] = []
            for _ in 0..<mask.nonzeroBitCount { places.append(try Place(from: &reader)) }
            self = .run(index: index, run: run, mask: mask, places)
        case 5: self = .mark(try WriteMark(from: &reader))
        case 6: self = .clear(try WriteMark(from: &reader))
        default: throw .io
        }
    }
}

extension LogRecord.Place {
    fileprivate func put(into writer: inout ByteWriter) {
        writer.put(address.rawValue)
        writer.put(word)
    }

    fileprivate init(from reader: inout ByteReader) throws(Errno) {
        address = FlashAddress(rawValue: try reader.take(UInt32.self))
        word = try reader.take(UInt32.self)
    }
}

/// A range of 1 MiB of a file that is being written, or all of the file, or some of it that nothing
/// is known of.
struct WriteMark: Hashable {
    /// The range that stands for all of a file.
    static let everything = UInt32.max
    /// The range without blocks: the file is being written, so its attributes change.
    static let nothing = UInt32.max - 1

    var identity: UInt64
    var range: UInt32

    init(identity: UInt64, range: UInt32) {
        self.identity = identity
        self.range = range
    }

    fileprivate func put(into writer: inout ByteWriter) {
        writer.put(identity)
        writer.put(range)
    }

    fileprivate init(from reader: inout ByteReader) throws(Errno) {
        self.init(identity: try reader.take(UInt64.self), range: try reader.take(UInt32.self))
    }

    /// Its blocks.
    var blocks: Range<UInt64> {
        if range == Self.everything { return 0..<FlashMap.blockLimit }
        if range == Self.nothing { return 0..<0 }
        let first = UInt64(range) * FlashMap.rangeBlocks
        return first..<first + FlashMap.rangeBlocks
    }
}
