import Devices
import Syscalls

/// What a log device says of itself (docs/on-disk-format.md, "The log").
package struct LogHeader: Equatable, Sendable {
    /// Names this format of the device: 16 bytes.
    package var uuid: [UInt8]
    /// Goes into all checksums.
    package var salt: UInt64
    /// Bytes of the device when it was formatted.
    package var size: UInt64
    /// Bytes of a segment.
    package var segmentSize: UInt64
    /// Bytes that are written at once.
    package var unit: UInt32
    /// The mount it belongs to; empty when it is free.
    package var owner = ""
    /// Counts its writes.
    package var sequence: UInt64 = 0

    private static let magic = Array("Forebay log".utf8) + [0, 0, 0, 0, 0]
    static let version: UInt32 = 1
    private static let block = 4096
    private static let longestOwner = 1024

    /// The header of a device that is formatted now.
    package init(size: UInt64, segmentSize: UInt64, unit: Int) {
        var generator = SystemRandomNumberGenerator()
        uuid = (0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) }
        salt = UInt64.random(in: 1...UInt64.max, using: &generator)
        self.size = size
        self.segmentSize = segmentSize
        self.unit = UInt32(unit)
    }

    /// Where everything is; nil when the numbers make no sense.
    package var geometry: LogGeometry? {
        LogGeometry(size: size, segmentSize: segmentSize, unit: Int(unit))
    }

    /// Whether a block looks like a header of ours, valid or not.
    package static func isRecognised(_ block: UnsafeRawBufferPointer) -> Bool {
        block.count >= 24 && block[8..<24].elementsEqual(magic)
    }

    // MARK: - Decoding

    /// The newest valid copy on a device; `damagedCopies` counts those that are not equal to it.
    package static func read<Device: BlockDevice>(
        from device: Device
    ) throws(JournalProblem) -> (header: LogHeader, damagedCopies: Int) {
        let buffer = BlockBuffer(blocks: 1)
        let bytes = UnsafeRawBufferPointer(buffer.bytes)
        var copies: [LogHeader] = []
        var problem = JournalProblem.unformatted
        for offset in LogGeometry.headers {
            do throws(Errno) {
                try device.read(buffer.bytes, at: offset)
                if let copy = try? LogHeader(bytes, at: offset) {
                    copies.append(copy)
                } else if isRecognised(bytes) {
                    let version = otherVersion(bytes)
                    problem = version.map { .otherVersion($0) } ?? .damagedHeader
                }
            } catch {
                if problem == .unformatted { problem = .device(error) }
            }
        }
        guard let newest = copies.max(by: { $0.sequence < $1.sequence }) else { throw problem }
        return (newest, 2 - copies.count { $0 == newest })
    }

    private static func otherVersion(_ bytes: UnsafeRawBufferPointer) -> UInt32? {
        var reader = ByteReader(bytes, at: 24)
        guard let number = try? reader.take(UInt32.self), number != version else { return nil }
        return number
    }

    private init(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        guard Self.isRecognised(bytes) else { throw .io }
        var reader = ByteReader(bytes)
        _ = try reader.take(UInt64.self)
        _ = try reader.take(count: 16)
        guard try reader.take(UInt32.self) == Self.version else { throw .io }
        unit = try reader.take(UInt32.self)
        uuid = try reader.take(count: 16)
        salt = try reader.take(UInt64.self)
        size = try reader.take(UInt64.self)
        segmentSize = try reader.take(UInt64.self)
        sequence = try reader.take(UInt64.self)
        let length = Int(try reader.take(UInt16.self))
        owner = String(decoding: try reader.take(count: length), as: UTF8.self)
        guard LogSeal(salt: 0).isStamped(bytes, size: Self.block, at: offset, life: 0) else {
            throw .io
        }
    }

    // MARK: - Encoding

    /// Makes both copies durable, one after the other. Counts the write. Throws EINVAL for an
    /// owner of more than 1,024 bytes.
    package mutating func write<Device: BlockDevice>(to device: Device) throws(Errno) {
        guard owner.utf8.count <= Self.longestOwner else { throw .invalid }
        sequence += 1
        for offset in LogGeometry.headers {
            let buffer = BlockBuffer(blocks: 1)
            encode(into: buffer.bytes, at: offset)
            try device.write(UnsafeRawBufferPointer(buffer.bytes), at: offset)
            try device.flush()
        }
    }

    private func encode(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) {
        var writer = ByteWriter(bytes, at: 8)
        writer.put(Self.magic)
        writer.put(Self.version)
        writer.put(unit)
        writer.put(uuid)
        writer.put(salt)
        writer.put(size)
        writer.put(segmentSize)
        writer.put(sequence)
        writer.put(UInt16(owner.utf8.count))
        writer.put(Array(owner.utf8))
        LogSeal(salt: 0).stamp(bytes, size: Self.block, at: offset, life: 0)
    }
}

/// Why a device cannot be used as a log.
package enum JournalProblem: Error, Equatable, Sendable {
    /// It holds no log.
    case unformatted
    /// It holds a log of another version of the format.
    case otherVersion(UInt32)
    /// Neither copy of the header is valid.
    case damagedHeader
    /// Neither checkpoint is valid.
    case damagedCheckpoint
    /// The device is smaller than when it was formatted.
    case tooSmall
    /// The device writes blocks of so many bytes, more than when it was formatted.
    case blockSize(UInt32)
    /// The device failed.
    case device(Errno)
}

extension JournalProblem: CustomStringConvertible {
    /// In words, to go behind "WHAT: ".
    package var description: String {
        switch self {
        case .unformatted: "it holds no log"
        case .otherVersion(let version):
            "its log has version \(version) of the format, and this is version"
                + " \(LogHeader.version)"
        case .damagedHeader: "both copies of its header are damaged"
        case .damagedCheckpoint: "both of its checkpoints are damaged"
        case .tooSmall: "the device is smaller than when it was formatted"
        case .blockSize(let size):
            "the device writes blocks of \(size) bytes, more than when it was formatted"
        case .device(let error): "it cannot be read: \(error)"
        }
    }
}
