import Syscalls

/// Appends numbers to a block, little-endian. Whoever uses it knows that there is room. Compiled
/// into those who use it: a generic function of another module costs more than what it does.
@usableFromInline package struct ByteWriter {
    @usableFromInline let bytes: UnsafeMutableRawBufferPointer
    @usableFromInline package internal(set) var position: Int

    package init(_ bytes: UnsafeMutableRawBufferPointer, at position: Int) {
        self.bytes = bytes
        self.position = position
    }

    @inlinable package mutating func put<Number: FixedWidthInteger>(_ number: Number) {
        bytes.storeBytes(of: number.littleEndian, toByteOffset: position, as: Number.self)
        position += MemoryLayout<Number>.size
    }

    package mutating func put(_ list: [UInt8]) {
        for byte in list { put(byte) }
    }
}

/// Takes numbers from bytes of a device, little-endian. Throws EIO when there are no more.
package struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    package private(set) var position: Int

    package init(_ bytes: UnsafeRawBufferPointer, at position: Int = 0) {
        self.bytes = bytes
        self.position = position
    }

    package var isAtEnd: Bool { position >= bytes.count }

    package mutating func take<Number: FixedWidthInteger>(
        _ type: Number.Type
    ) throws(Errno) -> Number {
        let size = MemoryLayout<Number>.size
        guard bytes.count - position >= size else { throw .io }
        defer { position += size }
        return Number(
            littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
    }

    package mutating func take(count: Int) throws(Errno) -> [UInt8] {
        guard count >= 0, bytes.count - position >= count else { throw .io }
        defer { position += count }
        return Array(bytes[position..<position + count])
    }
}
