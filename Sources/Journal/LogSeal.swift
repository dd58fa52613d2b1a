import CHash
import Devices

/// Checksums of what is in one log. They are made with the log's salt, so that nothing of an
/// earlier format, and nothing that a guest writes, passes for a part of it; and with the position
/// and the life, so that nothing of an earlier turn does.
struct LogSeal: Sendable {
    let salt: UInt64

    /// XXH3 of bytes that belong to a position.
    func checksum(
        _ bytes: UnsafeRawBufferPointer, at position: LogPosition, life: UInt64
    ) -> UInt64 {
        let seed =
            salt ^ (position &* 0x9e37_79b9_7f4a_7c15) ^ (life &* 0xc2b2_ae3d_27d4_eb4f)
        return CHash_checksum(bytes.baseAddress, bytes.count, seed)
    }

    func checksum(
        _ bytes: Slice<UnsafeRawBufferPointer>, at position: LogPosition, life: UInt64
    ) -> UInt64 {
        checksum(UnsafeRawBufferPointer(rebasing: bytes), at: position, life: life)
    }

    /// Writes the checksum of the first `size` bytes in front of them: into the first eight.
    func stamp(
        _ bytes: UnsafeMutableRawBufferPointer, size: Int, at position: LogPosition, life: UInt64
    ) {
        let whole = UnsafeRawBufferPointer(bytes)
        var front = ByteWriter(bytes, at: 0)
        front.put(checksum(whole[8..<size], at: position, life: life))
    }

    /// Whether the first eight bytes are what `stamp` makes of the others.
    func isStamped(
        _ bytes: UnsafeRawBufferPointer, size: Int, at position: LogPosition, life: UInt64
    ) -> Bool {
        guard bytes.count >= size else { return false }
        let found = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        return found == checksum(bytes[8..<size], at: position, life: life)
    }
}

extension Int {
    /// The next multiple of a power of two.
    func roundedUp(to unit: Int) -> Int { (self + unit - 1) & ~(unit - 1) }
}

extension UInt64 {
    /// The next multiple of a power of two; the largest one where there is none.
    func roundedUp(to unit: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(unit - 1)
        return (overflow ? .max : sum) & ~(unit - 1)
    }
}
