import Glibc
import Policy
import Syscalls

/// Where the mount, its backing and its state lie.
extension Preflight {
    private var backingText: String { "backing '\(options.backing)'" }
    private var mountpointText: String { "mountpoint '\(options.mountpoint)'" }

    func backing() -> PreflightCheck {
        folder("backing", options.backing, backingText, missing: "mount the datastore there")
    }

    /// The folder that waits for a mount is empty: accelerated in its place, it would show machines
    /// without disks.
    func backingMounted() -> PreflightCheck {
        for folder in expectedMounts where table.entry(at: folder) == nil {
            return .fail(
                "backing-mounted", backingText,
                "is not there: \(folder) is to be a mount and is none",
                mend: "mount \(folder)")
        }
        return .pass(
            "backing-mounted", backingText,
            expectedMounts.isEmpty
                ? "is not said to be a mount" : "lies on \(expectedMounts.joined(separator: ", "))")
    }

    func mountpoint() -> PreflightCheck {
        folder(
            "mountpoint", options.mountpoint, mountpointText,
            missing: "mkdir -p \(options.mountpoint)")
    }

    private func folder(
        _ name: String, _ path: String, _ subject: String, missing: String
    ) -> PreflightCheck {
        let outcome = withTimeLimit(milliseconds: Self.patience) { () -> (Int32, UInt32) in
            var status = stat()
            let code = stat(path, &status) == 0 ? 0 : errno
            return (code, status.st_mode)
        }
        guard let outcome else {
            return .fail(
                name, subject, "does not answer within \(Self.patience / 1000) seconds",
                mend: "see whether the server of that file system is up")
        }
        switch outcome.0 {
        case 0 where outcome.1 & S_IFMT == S_IFDIR:
            return .pass(name, subject, "is a folder that answers")
        case 0: return .fail(name, subject, "is not a folder", mend: "name a folder")
        case ENOENT: return .fail(name, subject, "does not exist", mend: missing)
        case ENOTCONN:
            return .fail(
                name, subject, "is a mount whose server is gone", mend: "umount -l \(path)")
        default:
            return .fail(
                name, subject, "cannot be used: \(Errno(outcome.0))", mend: "see what holds it")
        }
    }

    /// Neither may lie inside the other: the mount would serve itself.
    func apart() -> PreflightCheck {
        let (backing, mountpoint) = (options.backing, options.mountpoint)
        let advice = "choose a mountpoint outside of the backing"
        if backing == mountpoint || isSame(backing, mountpoint) {
            return .fail("apart", mountpointText, "is the backing itself", mend: advice)
        }
        if lies(mountpoint, in: backing) {
            return .fail("apart", mountpointText, "is inside the backing", mend: advice)
        }
        if lies(backing, in: mountpoint) {
            return .fail("apart", backingText, "is inside the mountpoint", mend: advice)
        }
        return .pass("apart", mountpointText, "is not inside the backing, nor the other way round")
    }

    /// True when a folder above `path` is `folder`, by name or by device and inode: a bind mount
    /// has another name.
    private func lies(_ path: String, in folder: String) -> Bool {
        if MountTable.isInside(path, folder, orSame: false) { return true }
        var above = path
        while above != "/" {
            above = AbsolutePath.parent(above)
            if isSame(above, folder) { return true }
        }
        return false
    }

    private func isSame(_ one: String, _ other: String) -> Bool {
        let result = withTimeLimit(milliseconds: Self.patience) { () -> Bool in
            var (left, right) = (stat(), stat())
            return stat(one, &left) == 0 && stat(other, &right) == 0
                && left.st_dev == right.st_dev && left.st_ino == right.st_ino
        }
        return result ?? false
    }

    func mountpointInUse() -> PreflightCheck {
        // systemd's automount point waits for exactly this mount.
        if let entry = table.entry(at: options.mountpoint), entry.type != "autofs" {
            return .fail(
                "mountpoint-free", mountpointText,
                "is in use: \(entry.source) (\(entry.type)) is mounted there",
                mend: "unmount it or choose another folder")
        }
        return .pass("mountpoint-free", mountpointText, "has no mount")
    }

    func mountpointEmpty() -> PreflightCheck {
        if table.entry(at: options.mountpoint)?.type == "autofs" {
            return .pass("mountpoint-empty", mountpointText, "is an automount point")
        }
        if TextFile.names(in: options.mountpoint, limit: 1).isEmpty {
            return .pass("mountpoint-empty", mountpointText, "is empty")
        }
        return .warn(
            "mountpoint-empty", mountpointText, "holds files, which the mount will hide",
            mend: "use an empty folder")
    }

    func nameInUse() -> PreflightCheck {
        let subject = "name '\(options.name)'"
        awaitEndOfUnmounted()
        let isAnswered = try? ControlClient.request(
            "status", path: runFolder.socket(options.name), milliseconds: 1000)
        if runFolder.isTaken(options.name) || isAnswered != nil {
            let place = runFolder.mounts().first { $0.name == options.name }?.mountpoint
            return .fail(
                "name-free", subject,
                "is in use" + (place.map { " by the mount at \($0)" } ?? ""),
                mend: "choose another with the option name=")
        }
        return .pass("name-free", subject, "is free")
    }

    /// After a plain umount(8) the processes end by themselves, a moment later: they are given
    /// that moment, so that a mount may follow at once.
    private func awaitEndOfUnmounted() {
        let deadline = monotonicNanoseconds() + .seconds(3)
        while runFolder.isTaken(options.name), monotonicNanoseconds() < deadline {
            guard let mount = runFolder.described(options.name),
                MountTable.current().entry(at: mount.mountpoint)?.type != "fuse.forebay"
            else { return }
            sleep(milliseconds: 20)
        }
    }

    func statePlace() -> PreflightCheck {
        let subject = "state folder '\(options.state)'"
        let place = AbsolutePath.resolve(AbsolutePath.existing(options.state))
        for folder in [options.backing, options.mountpoint]
        where MountTable.isInside(place, folder, orSame: true)
            || MountTable.isInside(options.state, folder, orSame: true)
        {
            return .fail(
                "state-place", subject, "is inside \(folder)",
                mend: "choose a folder on a local disk with the option state=")
        }
        var status = stat()
        if stat(place, &status) != 0 || status.st_mode & S_IFMT != S_IFDIR {
            return .fail(
                "state-place", subject, "is not a folder",
                mend: "choose another with the option state=")
        }
        if Glibc.access(place, W_OK) != 0 {
            return .fail(
                "state-place", subject, "cannot be written: \(Errno.last)",
                mend: "choose another with the option state=")
        }
        return .pass("state-place", subject, "can be written")
    }

    func stateDisk() -> PreflightCheck {
        let subject = "state folder '\(options.state)'"
        let place = AbsolutePath.resolve(AbsolutePath.existing(options.state))
        let advice = "choose a folder on a local disk with the option state="
        let type = table.entry(containing: place)?.type ?? "unknown"
        if Self.isRemote(type) {
            return .fail("state-disk", subject, "is on \(type), not a local disk", mend: advice)
        }
        if type == "tmpfs" || type == "ramfs" {
            return .warn(
                "state-disk", subject, "is on \(type) and will be lost at a reboot", mend: advice)
        }
        return .pass("state-disk", subject, "is on \(type)")
    }

    /// True for types of file systems that other machines or processes serve.
    static func isRemote(_ type: String) -> Bool {
        type.hasPrefix("nfs") || type.hasPrefix("fuse")
            || ["cifs", "smb3", "9p", "ceph", "afs"]
                .contains(type)
    }
}
