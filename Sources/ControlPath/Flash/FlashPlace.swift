import Devices
import FlashTier
import Policy
import Syscalls

/// A device or file of the flash tier, as commands look at it while no mount uses it.
package struct FlashPlace: Sendable {
    /// Its path, absolute.
    package let path: String

    package init(_ path: String) { self.path = path }

    private var subject: String { "flash '\(path)'" }

    /// The command that prepares it.
    package var formatting: String { "'forebay format --flash \(path)' prepares it" }

    /// Opens it for one user. Throws a refusal that says why it cannot be.
    package func open(readOnly: Bool) throws(Refusal) -> FileDevice {
        do throws(Errno) {
            return try FileDevice(path: path, readOnly: readOnly)
        } catch {
            switch error {
            case .noEntry:
                throw Refusal(subject, "there is no such device or file")
            case .busy:
                throw Refusal(subject, "is in use\(user)", hint: "end that, or name another device")
            case .invalid, .isDirectory:
                throw Refusal(
                    subject,
                    "is neither a block device nor a file that can be used directly (O_DIRECT)",
                    hint: "name a device, or a file on a local disk")
            default: throw Refusal(subject, "cannot be opened: \(error)")
            }
        }
    }

    /// The mount that uses it, as the end of a sentence; empty when it is none of ours.
    private var user: String {
        let mount = RunFolder().mounts().first { mount in
            mount.options.split(separator: ",").contains { option in
                guard option.hasPrefix("flash=") else { return false }
                return (try? FlashOption.parse(String(option.dropFirst(6))))??.path == path
            }
        }
        return mount.map { " by the mount at '\($0.mountpoint)'" } ?? ""
    }

    /// What is on it.
    package func contents(of device: FileDevice) throws(Refusal) -> FlashFormat.Contents {
        try answer { () throws(Errno) in try FlashFormat.contents(of: device) }
    }

    /// Makes it an empty flash tier that belongs to nobody. What is on it is lost.
    package func format(_ device: FileDevice) throws(Refusal) {
        guard FlashGeometry(size: device.size, regionBlocks: Limits.flashRegionBlocks) != nil
        else {
            throw Refusal(
                subject, "is too small for a flash tier: \(ByteSize.readable(device.size))",
                hint: "take at least \(ByteSize.exact(Limits.minimumFlash))")
        }
        try answer { () throws(Errno) in try FlashFormat.format(device) }
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
            guard error == .invalid else { throw failure(error) }
            throw Refusal(subject, "both copies of its header are damaged", hint: formatting)
        }
        guard device.size / 4096 >= header.blocks else {
            throw Refusal(
                subject, "is shorter than it was when it was formatted", hint: formatting)
        }
        return header
    }

    /// Errors of the device as refusals.
    private func answer<Result>(_ body: () throws(Errno) -> Result) throws(Refusal) -> Result {
        do throws(Errno) {
            return try body()
        } catch {
            throw failure(error)
        }
    }

    private func failure(_ error: Errno) -> Refusal {
        Refusal(subject, "the device fails: \(error)", hint: "see the kernel's log, 'dmesg'")
    }
}
