import Devices
import Policy
import Syscalls

/// Making a device ours, and telling what is on it.
package enum FlashFormat {
    /// What a device holds.
    package typealias Contents = DeviceContents

    /// Looks at the first and the last MiB and at some blocks between them. Throws what the device
    /// says.
    package static func contents<Device: BlockDevice>(
        of device: Device
    ) throws(Errno) -> Contents {
        try DeviceContents(of: device) { block in
            if let header = try? FlashHeader.read(from: device) { return header.owner }
            return FlashHeader.isRecognised(block) ? "" : nil
        }
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
        try DeviceContents.clearEdges(of: device)
        var header = FlashHeader(
            size: device.size, regionBlocks: regionBlocks,
            logicalBlockSize: device.logicalBlockSize)
        try header.write(to: device)
    }
}
