import Glibc
import Syscalls

/// What a device holds, as far as its edges and some blocks between them tell.
package enum DeviceContents: Equatable, Sendable {
    /// Zeros, wherever it was looked at.
    case nothing
    /// What the caller recognises as its own, of a mount or (an empty text) of none.
    case ours(owner: String)
    /// Something else, in words.
    case foreign(String)

    /// Bytes at the beginning and at the end that are looked at, and cleared by `clearEdges`: where
    /// file systems, partition tables and volume managers have their marks.
    private static let edge: UInt64 = 1 << 20
    /// Blocks in between that are looked at, evenly spread.
    private static let probes: UInt64 = 64

    /// Looks at the first and the last MiB and at some blocks between them. `owner` is given the
    /// first block; it answers nil for a device that is not the caller's. Throws what the device
    /// says.
    package init<Device: BlockDevice>(
        of device: Device, owner: (UnsafeRawBufferPointer) -> String?
    ) throws(Errno) {
        let edge = min(Self.edge, device.size)
        let buffer = BlockBuffer(blocks: Int(edge / 4096))
        self = .nothing
        guard edge > 0 else { return }
        try device.read(buffer.bytes, at: 0)
        if let owner = owner(UnsafeRawBufferPointer(buffer.block(0))) {
            self = .ours(owner: owner)
            return
        }
        if !Self.isZero(buffer.bytes) {
            self = .foreign(Signature.name(UnsafeRawBufferPointer(buffer.bytes)) ?? "data")
            return
        }
        try device.read(buffer.bytes, at: device.size - edge)
        if !Self.isZero(buffer.bytes) {
            self = .foreign("data at its end")
            return
        }
        let block = buffer.block(0)
        for probe in 1..<Self.probes {
            try device.read(block, at: device.size / 4096 * probe / Self.probes * 4096)
            if !Self.isZero(block) {
                self = .foreign("data")
                return
            }
        }
    }

    private static func isZero(_ bytes: UnsafeMutableRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress, bytes.count > 8 else { return true }
        return base.load(as: UInt64.self) == 0 && memcmp(base, base + 8, bytes.count - 8) == 0
    }

    /// Writes zeros over the first and the last MiB, durably. Throws what the device says.
    package static func clearEdges<Device: BlockDevice>(of device: Device) throws(Errno) {
        let edge = min(edge, device.size)
        let zeros = BlockBuffer(blocks: Int(edge / 4096))
        for offset in [device.size - edge, 0] {
            try device.write(UnsafeRawBufferPointer(zeros.bytes), at: offset)
        }
        try device.flush()
    }
}
