import ReadCache
import Syscalls

/// Appends numbers to a block, little-endian. Whoever uses it knows that there is room.
struct ByteWriter {
    private let bytes: UnsafeMutableRawBufferPointer
    private(set) var position: Int

    init(_ bytes: UnsafeMutableRawBufferPointer, at position: Int) {
        self.bytes = bytes
        self.position = position
    }

    mutating func put<Number: FixedWidthInteger>(_ number: Number) {
        bytes.storeBytes(of: number.littleEndian, toByteOffset: position, as: Number.self)
        position += MemoryLayout<Number>.size
    }

    mutating func put(_ list: [UInt8]) {
        for byte in list { put(byte) }
    }
}

/// Takes numbers from bytes of a device, little-endian. Throws EIO when there are no more.
struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    private(set) var position: Int

    init(_ bytes: UnsafeRawBufferPointer, at position: Int = 0) {
        self.bytes = bytes
        self.position = position
    }

    var isAtEnd: Bool { position >= bytes.count }

    mutating func take<Number: FixedWidthInteger>(_ type: Number.Type) throws(Errno) -> Number {
        let size = MemoryLayout<Number>.size
        guard bytes.count - position >= size else { throw .io }
        defer { position += size }
        return Number(
            littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
    }

    mutating func take(count: Int) throws(Errno) -> [UInt8] {
        guard count >= 0, bytes.count - position >= count else { throw .io }
        defer { position += count }
        return Array(bytes[position..<position + count])
    }
}

extension Fingerprint {
    func put(into writer: inout ByteWriter) {
        writer.put(high)
        writer.put(low)
    }

    init(from reader: inout ByteReader) throws(Errno) {
        self.init(high: try reader.take(UInt64.self), low: try reader.take(UInt64.self))
    }
}
