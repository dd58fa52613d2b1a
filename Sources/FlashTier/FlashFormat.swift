import Devices
import Glibc
import Policy
import Syscalls

/// Making a device ours, and telling what is on it.
package enum FlashFormat {
    /// What a device holds.
    package enum Contents: Equatable, Sendable {
        /// Zeros, wherever it was looked at.
        case nothing
        /// A flash tier, of a mount or (an empty text) of none.
        case ours(owner: String)
        /// Something else, in words.
        case foreign(String)
    }

    /// Bytes at the beginning and at the end that are looked at, and cleared by `format`: where
    /// file systems, partition tables and volume managers have their marks.
    private static let edge: UInt64 = 1 << 20
    /// Blocks in between that are looked at, evenly spread.
    private static let probes: UInt64 = 64

    /// Looks at the first and the last MiB and at some blocks between them. Throws what the device
    /// says.
    package static func contents<Device: BlockDevice>(
        of device: Device
    ) throws(Errno) -> Contents {
        let edge = min(edge, device.size)
        let buffer = BlockBuffer(blocks: Int(edge / 4096))
        guard edge > 0 else { return .nothing }
        try device.read(buffer.bytes, at: 0)
        if let header = try? FlashHeader.read(from: device) { return .ours(owner: header.owner) }
        if FlashHeader.isRecognised(UnsafeRawBufferPointer(buffer.block(0))) {
            return .ours(owner: "")
        }
        if !isZero(buffer.bytes) {
            return .foreign(Signature.name(UnsafeRawBufferPointer(buffer.bytes)) ?? "data")
        }
        try device.read(buffer.bytes, at: device.size - edge)
        if !isZero(buffer.bytes) { return .foreign("data at its end") }
        let block = buffer.block(0)
        for probe in 1..<probes {
            try device.read(block, at: device.size / 4096 * probe / probes * 4096)
            if !isZero(block) { return .foreign("data") }
        }
        return .nothing
    }

    private static func isZero(_ bytes: UnsafeMutableRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress, bytes.count > 8 else { return true }
        return base.load(as: UInt64.self) == 0 && memcmp(base, base + 8, bytes.count - 8) == 0
    }

    /// Clears both edges and writes the header of an empty tier. What else was on the device is not
    /// read any more: its seals are made with another key. Throws ENOSPC when the device is too
    /// small, and what it says.
    package static func format<Device: BlockDevice>(
        _ device: Device, regionBlocks: Int = Limits.flashRegionBlocks
    ) throws(Errno) {
        guard FlashGeometry(size: device.size, regionBlocks: regionBlocks) != nil else {
            throw .noSpace
        }
        let edge = min(edge, device.size)
        let zeros = BlockBuffer(blocks: Int(edge / 4096))
        for offset in [device.size - edge, 0] {
            try device.write(UnsafeRawBufferPointer(zeros.bytes), at: offset)
        }
        try device.flush()
        var header = FlashHeader(
            size: device.size, regionBlocks: regionBlocks,
            logicalBlockSize: device.logicalBlockSize)
        try header.write(to: device)
    }
}
