import Devices
import FlashTier
import Policy
import Syscalls

/// A device or file of the flash tier, as commands look at it while no mount uses it.
package struct FlashPlace: Sendable {
    let device: DevicePlace
    /// Its path, absolute.
    package var path: String { device.path }

    package init(_ path: String) { device = DevicePlace(key: "flash", path: path) }

    private var subject: String { device.subject }

    /// The command that prepares it.
    package var formatting: String { device.formatting }

    /// Opens it for one user. Throws a refusal that says why it cannot be.
    package func open(readOnly: Bool) throws(Refusal) -> FileDevice {
        try device.open(readOnly: readOnly)
    }

    /// What is on it.
    package func contents(of device: FileDevice) throws(Refusal) -> FlashFormat.Contents {
        try self.device.answer { () throws(Errno) in try FlashFormat.contents(of: device) }
    }

    /// Makes it an empty flash tier that belongs to nobody. What is on it is lost.
    package func format(_ device: FileDevice) throws(Refusal) {
        guard FlashGeometry(size: device.size, regionBlocks: Limits.flashRegionBlocks) != nil
        else {
            throw Refusal(
                subject, "is too small for a flash tier: \(ByteSize.readable(device.size))",
                hint: "take at least \(ByteSize.exact(Limits.minimumFlash))")
        }
        try self.device.answer { () throws(Errno) in try FlashFormat.format(device) }
    }

    /// Its header. Refuses what is not formatted, is damaged, or is shorter than it was.
    package func header(of device: FileDevice) throws(Refusal) -> FlashHeader {
        switch try contents(of: device) {
        case .nothing: throw Refusal(subject, "is not formatted", hint: formatting)
        case .foreign(let what):
            throw Refusal(
                subject, "holds \(what)",
                hint: "name another device, or lose that by 'forebay format --flash \(path)"
                    + " --force'")
        case .ours: break
        }
        let header: FlashHeader
        do throws(Errno) {
            header = try FlashHeader.read(from: device)
        } catch {
            guard error == .invalid else { throw self.device.failure(error) }
            throw Refusal(subject, "both copies of its header are damaged", hint: formatting)
        }
        guard device.size / 4096 >= header.blocks else {
            throw Refusal(
                subject, "is shorter than it was when it was formatted", hint: formatting)
        }
        return header
    }
}
