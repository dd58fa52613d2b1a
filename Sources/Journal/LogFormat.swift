import Devices
import Policy
import Syscalls

/// Making a device a log, and telling what is on it.
package enum LogFormat {
    /// What a device holds. Throws what the device says.
    package static func contents<Device: BlockDevice>(
        of device: Device
    ) throws(Errno) -> DeviceContents {
        try DeviceContents(of: device) { block in
            if let header = try? LogHeader.read(from: device).header { return header.owner }
            return LogHeader.isRecognised(block) ? "" : nil
        }
    }

    /// Clears both edges and writes the header of an empty log. What else was on the device is not
    /// read any more: the checksums of another salt are others. `segmentSize` is chosen by the size
    /// where it is not given. Throws ENOSPC when the device is too small, and what it says.
    package static func format<Device: BlockDevice>(
        _ device: Device, segmentSize: UInt64? = nil
    ) throws(Errno) {
        let unit = LogGeometry.unit(for: device.logicalBlockSize)
        let size = segmentSize ?? LogGeometry.segmentSize(for: device.size)
        try format(device, LogHeader(size: device.size, segmentSize: size, unit: unit))
    }

    /// Likewise, with the names and numbers of a given header.
    package static func format<Device: BlockDevice>(
        _ device: Device, _ header: LogHeader
    ) throws(Errno) {
        var header = header
        guard let geometry = header.geometry else { throw .noSpace }
        try DeviceContents.clearEdges(of: device)
        var checkpoint = LogCheckpoint(tail: geometry.first)
        for sequence: UInt64 in [1, 2] {
            checkpoint.sequence = sequence
            try checkpoint.write(to: device, geometry, LogSeal(salt: header.salt))
        }
        try header.write(to: device)
    }
}
