import CLinux
import DataPath
import Devices
import Glibc
import Passthrough
import Policy
import Syscalls

/// A device or file that an option names, as commands look at it while no mount uses it.
struct DevicePlace: Sendable {
    /// The option: `flash` or `log`.
    let key: String
    /// Absolute.
    let path: String

    var subject: String { "\(key) '\(path)'" }

    /// The command that prepares it.
    var formatting: String { "'forebay format --\(key) \(path)' prepares it" }

    /// Whether there is anything at the path.
    var isThere: Bool {
        var status = stat()
        return stat(path, &status) == 0 || errno != ENOENT
    }

    /// Opens it for one user. Throws a refusal that says why it cannot be.
    func open(readOnly: Bool) throws(Refusal) -> FileDevice {
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
                option == "\(key)=\(path)" || option.hasPrefix("\(key)=\(path):")
            }
        }
        return mount.map { " by the mount at '\($0.mountpoint)'" } ?? ""
    }

    /// Errors of the device as refusals.
    func answer<Result>(_ body: () throws(Errno) -> Result) throws(Refusal) -> Result {
        do throws(Errno) {
            return try body()
        } catch {
            throw failure(error)
        }
    }

    func failure(_ error: Errno) -> Refusal {
        Refusal(subject, "the device fails: \(error)", hint: "see the kernel's log, 'dmesg'")
    }

    /// Refuses a file in the datastore or below the mount, which would be served by itself.
    func checkOutside(_ options: MountOptions) throws(Refusal) {
        let resolved = AbsolutePath.resolve(AbsolutePath.existing(path))
        for folder in [options.backing, options.mountpoint]
        where MountTable.isInside(resolved, folder, orSame: true)
            || MountTable.isInside(AbsolutePath.lexical(path), folder, orSame: true)
        {
            throw Refusal(
                subject, "is inside '\(folder)'", hint: "name a device, or a file on a local disk")
        }
    }

    /// Refuses what belongs to another mount. `found` is the owner that a header names, `what` the
    /// device's part: "cache", "log". When the datastore does not say which it is, the name
    /// decides; the server finds out.
    func checkOwner(_ found: String, of options: MountOptions, what: String) throws(Refusal) {
        guard !found.isEmpty else { return }
        let backing = options.backing
        let root = withTimeLimit(milliseconds: Preflight.patience) {
            try? Backing(path: backing).rootHandle
        }
        let isSameName = found.hasPrefix("\(options.name)@")
        if let root = root ?? nil {
            if found == Datastore.deviceOwner(name: options.name, root: root) { return }
        } else if isSameName {
            return
        }
        let whose = isSameName ? "this name and another datastore" : "another name"
        throw Refusal(
            subject, "is the \(what) of a mount of \(whose), \(found)",
            hint: "name another device, or empty it by 'forebay format --\(key) \(path)'")
    }

    // MARK: - Making a file

    /// Bytes of the file to be made, whole blocks.
    func sizeToMake(_ size: UInt64?) throws(Refusal) -> UInt64 {
        guard let size else {
            throw Refusal(
                subject, "there is no such device or file",
                hint: "write \(key)=\(path):SIZE for a file that is made")
        }
        return size / 4096 * 4096
    }

    /// Makes a file and lets `body` fill it; after a refusal there is none.
    func make(
        size: UInt64, _ body: (FileDevice) throws(Refusal) -> Void
    ) throws(Refusal) {
        do throws(Errno) {
            let file = try Descriptor(path: path, flags: O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
            do throws(Errno) {
                // Space that is not there is found out now and not while machines run.
                try call { CLinux_fallocate(file.raw, 0, 0, Int64(size)) }
            } catch {
                unlink(path)
                throw error
            }
        } catch {
            throw notMade(error, size)
        }
        do throws(Refusal) {
            try body(try open(readOnly: false))
        } catch {
            unlink(path)
            throw error
        }
    }

    private func notMade(_ error: Errno, _ size: UInt64) -> Refusal {
        switch error {
        case .noSpace, .fileTooBig, Errno(EDQUOT):
            Refusal(
                subject, "there is no room for \(ByteSize.readable(size)): \(error)",
                hint: "name a smaller size, or another disk")
        case .noEntry:
            Refusal(
                subject, "its folder is not there",
                hint: "mkdir -p \(AbsolutePath.parent(path))")
        case .notSupported:
            Refusal(
                subject, "its file system cannot reserve space",
                hint: "name a device, or a file on ext4 or XFS")
        default: Refusal(subject, "cannot be made: \(error)")
        }
    }
}
