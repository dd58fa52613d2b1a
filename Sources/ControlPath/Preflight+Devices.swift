import CLinux
import Glibc
import Policy
import Syscalls

/// What holds for the devices of flash and log alike. Looked at, never written.
extension Preflight {
    /// A refusal as a check.
    static func check(
        _ name: String, _ place: DevicePlace, _ reason: String, _ body: () throws(Refusal) -> Void
    ) -> PreflightCheck {
        do throws(Refusal) {
            try body()
            return .pass(name, place.subject, reason)
        } catch {
            return .fail(
                name, place.subject, error.why, mend: error.hint.isEmpty ? "see dmesg" : error.hint)
        }
    }

    /// Whether there is room for a file that the mount makes.
    func fileToMake(_ name: String, _ place: DevicePlace, _ size: UInt64?) -> PreflightCheck {
        Self.check(name, place, "is made by the mount") { () throws(Refusal) in
            let size = try place.sizeToMake(size)
            let folder = AbsolutePath.parent(place.path)
            var space = statvfs()
            guard statvfs(folder, &space) == 0 else {
                throw Refusal("", "its folder is not there", hint: "mkdir -p \(folder)")
            }
            let free = UInt64(space.f_bavail) * UInt64(space.f_frsize)
            guard size <= free else {
                throw Refusal(
                    "", "there is no room for it: \(ByteSize.readable(free)) are free",
                    hint: "name a smaller size, or another disk")
            }
        }
    }

    /// Whether it is on a local disk of its own, and what that is. `inMemory`: what it means when
    /// it is lost at a reboot.
    func disk(
        _ name: String, _ place: DevicePlace, inMemory: PreflightCheck.Result
    ) -> PreflightCheck {
        let subject = place.subject
        let advice = "name a device of its own, or a file on a local NVMe disk"
        let path = AbsolutePath.resolve(AbsolutePath.existing(place.path))
        var status = stat()
        guard stat(path, &status) == 0 else {
            return .warn(name, subject, "what it lies on cannot be found", mend: advice)
        }
        let isDevice = status.st_mode & S_IFMT == S_IFBLK
        let type = isDevice ? "" : table.entry(containing: path)?.type ?? ""
        if Self.isRemote(type) {
            return .fail(name, subject, "is on \(type), not on a local disk", mend: advice)
        }
        if !isDevice, type == "tmpfs" || type == "ramfs" {
            let reason = "is on \(type) and lost at a reboot"
            return inMemory == .fail
                ? .fail(name, subject, reason, mend: advice)
                : .warn(name, subject, reason, mend: advice)
        }
        let backing = options.backing
        let backingDevice = withTimeLimit(milliseconds: Self.patience) { () -> dev_t? in
            var status = stat()
            return stat(backing, &status) == 0 ? status.st_dev : nil
        }
        if let backingDevice, status.st_dev == backingDevice, !isDevice {
            return .warn(name, subject, "is on the file system of the backing", mend: advice)
        }
        let rotational = text("rotational", of: isDevice ? status.st_rdev : status.st_dev)
        if rotational?.hasPrefix("1") == true {
            return .warn(name, subject, "is on a disk that rotates", mend: advice)
        }
        return .pass(name, subject, isDevice ? "is a block device" : "is on \(type)")
    }

    /// What /sys says of a disk's queue, or of that of a partition's disk.
    func text(_ name: String, of device: dev_t) -> String? {
        let folder = blockFolder(device)
        let places = ["\(folder)/queue/\(name)", "\(folder)/../queue/\(name)"]
        return places.lazy.compactMap { TextFile.read(files.place($0), limit: 4096) }.first
    }

    /// The folder of a block device in /sys.
    func blockFolder(_ device: dev_t) -> String {
        let major = CLinux_device_major(UInt64(device))
        return "/sys/dev/block/\(major):\(CLinux_device_minor(UInt64(device)))"
    }
}
