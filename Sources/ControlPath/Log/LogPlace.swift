import Devices
import Journal
import Policy
import Syscalls

/// A device or file of the journal, as commands look at it while no mount uses it.
package struct LogPlace: Sendable {
    let device: DevicePlace
    /// Its path, absolute.
    package var path: String { device.path }

    package init(_ path: String) { device = DevicePlace(key: "log", path: path) }

    private var subject: String { device.subject }

    /// Opens it for one user. Throws a refusal that says why it cannot be.
    package func open(readOnly: Bool) throws(Refusal) -> FileDevice {
        try device.open(readOnly: readOnly)
    }

    /// What is on it.
    package func contents(of device: FileDevice) throws(Refusal) -> DeviceContents {
        try self.device.answer { () throws(Errno) in try LogFormat.contents(of: device) }
    }

    /// Makes it an empty log that belongs to nobody. What is on it is lost.
    package func format(_ device: FileDevice) throws(Refusal) {
        guard device.size >= Limits.minimumLog else {
            throw Refusal(
                subject, "is too small for a log: \(ByteSize.readable(device.size))",
                hint: "take at least \(ByteSize.exact(Limits.minimumLog))")
        }
        try self.device.answer { () throws(Errno) in try LogFormat.format(device) }
    }

    /// Writes zeros over all of a new file, so that its blocks are there and later writes need
    /// nothing of its file system but themselves.
    func fill(_ device: FileDevice) throws(Refusal) {
        let zeros = BlockBuffer(blocks: 256)
        try self.device.answer { () throws(Errno) in
            var offset: UInt64 = 0
            while offset < device.size {
                let count = min(UInt64(zeros.bytes.count), device.size - offset)
                let part = UnsafeRawBufferPointer(rebasing: zeros.bytes[..<Int(count)])
                try device.write(part, at: offset)
                offset += count
            }
            try device.flush()
        }
    }

    /// Its header. Refuses what is not formatted, is damaged, or is shorter than it was.
    package func header(of device: FileDevice) throws(Refusal) -> LogHeader {
        let losing = "'forebay format --log \(path) --force'"
        switch try contents(of: device) {
        case .nothing:
            throw Refusal(subject, "is not formatted", hint: self.device.formatting)
        case .foreign(let what):
            throw Refusal(
                subject, "holds \(what)",
                hint: "name another device, or lose that by \(losing)")
        case .ours: break
        }
        let header: LogHeader
        do throws(JournalProblem) {
            header = try LogHeader.read(from: device).header
        } catch {
            throw Refusal(subject, "\(error)", hint: "\(losing) empties it; what it holds is lost")
        }
        guard device.size >= header.size else {
            throw Refusal(
                subject, "is shorter than it was when it was formatted",
                hint: "bring its size back, or lose what it holds by \(losing)")
        }
        return header
    }
}
