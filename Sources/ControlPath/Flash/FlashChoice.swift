import CLinux
import DataPath
import Devices
import FlashTier
import Glibc
import Passthrough
import Policy
import Syscalls

/// The flash device that a mount is asked to use: whether it may, and the file made if there is
/// none. Looked at before anything is mounted.
package struct FlashChoice: Sendable {
    package let option: FlashOption
    /// The mount's.
    private let name: String
    private let backing: String
    private let mountpoint: String
    let place: FlashPlace

    private var subject: String { "flash '\(option.path)'" }

    /// What options ask for; nil when they ask for no flash.
    package init?(_ options: MountOptions) {
        guard let option = options.flash else { return nil }
        self.option = option
        name = options.name
        backing = options.backing
        mountpoint = options.mountpoint
        place = FlashPlace(option.path)
    }

    /// Whether there is anything at the path.
    var isThere: Bool {
        var status = stat()
        return stat(option.path, &status) == 0 || errno != ENOENT
    }

    /// Refuses what cannot be used; makes and formats a file that is not there and has a size.
    /// True when it has made one. After a refusal everything is as it was.
    package func prepare() throws(Refusal) -> Bool {
        try checkPlace()
        guard isThere else {
            try make()
            return true
        }
        try checkOwner(of: try place.open(readOnly: false))
        return false
    }

    /// Takes back what `prepare` has made.
    package func takeBack() { unlink(option.path) }

    /// Refuses a file in the datastore or below the mount, which would be cached in itself.
    func checkPlace() throws(Refusal) {
        let resolved = AbsolutePath.resolve(AbsolutePath.existing(option.path))
        for folder in [backing, mountpoint]
        where MountTable.isInside(resolved, folder, orSame: true)
            || MountTable.isInside(AbsolutePath.lexical(option.path), folder, orSame: true)
        {
            throw Refusal(
                subject, "is inside '\(folder)'", hint: "name a device, or a file on a local disk")
        }
    }

    /// Refuses a device that is not formatted, damaged, or another mount's.
    func checkOwner(of device: FileDevice) throws(Refusal) {
        let found = try place.header(of: device).owner
        guard !found.isEmpty, !isOwner(found) else { return }
        let whose = found.hasPrefix("\(name)@") ? "this name and another datastore" : "another name"
        throw Refusal(
            subject, "is the cache of a mount of \(whose), \(found)",
            hint: "name another device, or empty it by 'forebay format --flash \(option.path)'")
    }

    /// Whether a device of this owner is the mount's own. When the datastore does not say which it
    /// is, the name decides; the server finds out.
    private func isOwner(_ found: String) -> Bool {
        let backing = backing
        let root = withTimeLimit(milliseconds: Preflight.patience) {
            try? Backing(path: backing).rootHandle
        }
        guard let root = root ?? nil else { return found.hasPrefix("\(name)@") }
        return found == Datastore.deviceOwner(name: name, root: root)
    }

    // MARK: - Making a file

    private func make() throws(Refusal) {
        let size = try sizeToMake()
        do throws(Errno) {
            let file = try Descriptor(
                path: option.path, flags: O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
            do throws(Errno) {
                // Space that is not there is found out now and not while machines run.
                try call { CLinux_fallocate(file.raw, 0, 0, Int64(size)) }
            } catch {
                unlink(option.path)
                throw error
            }
        } catch {
            throw notMade(error, size)
        }
        do throws(Refusal) {
            try place.format(try place.open(readOnly: false))
        } catch {
            unlink(option.path)
            throw error
        }
    }

    /// Bytes of the file to be made, whole blocks.
    func sizeToMake() throws(Refusal) -> UInt64 {
        guard let size = option.size else {
            throw Refusal(
                subject, "there is no such device or file",
                hint: "write flash=\(option.path):SIZE for a file that is made")
        }
        return size / 4096 * 4096
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
                hint: "mkdir -p \(AbsolutePath.parent(option.path))")
        case .notSupported:
            Refusal(
                subject, "its file system cannot reserve space",
                hint: "name a device, or a file on ext4 or XFS")
        default: Refusal(subject, "cannot be made: \(error)")
        }
    }
}
