import CLinux
import Devices
import FlashTier
import Glibc
import Policy
import Syscalls

/// The device of the flash tier. Looked at, never written.
extension Preflight {
    /// The checks of `flash=`; none without it.
    func flash() -> [PreflightCheck] {
        guard let choice = FlashChoice(options) else { return [] }
        let place = flashPlace(choice)
        guard place.result != .fail else { return [place] }
        let device = flashDevice(choice)
        let checks = [place, device, flashDisk(choice)]
        return device.result == .fail ? checks : checks + [flashMemory(choice)]
    }

    /// Whether the file lies where it would be cached in itself.
    func flashPlace(_ choice: FlashChoice) -> PreflightCheck {
        Self.check("flash-place", choice, "is not inside backing or mountpoint") {
            () throws(Refusal) in try choice.checkPlace()
        }
    }

    /// Whether it can be opened directly, is formatted and is this mount's or nobody's.
    private func flashDevice(_ choice: FlashChoice) -> PreflightCheck {
        guard choice.isThere else { return flashFile(choice) }
        return Self.check("flash-device", choice, "is formatted and free for this mount") {
            () throws(Refusal) in
            try choice.checkOwner(of: try choice.place.open(readOnly: true))
        }
    }

    /// Whether there is room for a file that the mount makes.
    private func flashFile(_ choice: FlashChoice) -> PreflightCheck {
        Self.check("flash-device", choice, "is made by the mount") { () throws(Refusal) in
            let size = try choice.sizeToMake()
            let folder = AbsolutePath.parent(choice.option.path)
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

    /// A refusal as a check.
    private static func check(
        _ name: String, _ choice: FlashChoice, _ reason: String, _ body: () throws(Refusal) -> Void
    ) -> PreflightCheck {
        let subject = "flash '\(choice.option.path)'"
        do throws(Refusal) {
            try body()
            return .pass(name, subject, reason)
        } catch {
            return .fail(
                name, subject, error.why, mend: error.hint.isEmpty ? "see dmesg" : error.hint)
        }
    }

    /// Whether it is faster than what it is the cache of.
    private func flashDisk(_ choice: FlashChoice) -> PreflightCheck {
        let (name, subject) = ("flash-disk", "flash '\(choice.option.path)'")
        let advice = "name a device of its own, or a file on a local NVMe disk"
        let path = AbsolutePath.resolve(AbsolutePath.existing(choice.option.path))
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
            return .warn(name, subject, "is on \(type) and lost at a reboot", mend: advice)
        }
        let backing = options.backing
        let backingDevice = withTimeLimit(milliseconds: Self.patience) { () -> dev_t? in
            var status = stat()
            return stat(backing, &status) == 0 ? status.st_dev : nil
        }
        if let backingDevice, status.st_dev == backingDevice, !isDevice {
            return .warn(name, subject, "is on the file system of the backing", mend: advice)
        }
        if isRotational(isDevice ? status.st_rdev : status.st_dev) {
            return .warn(name, subject, "is on a disk that rotates", mend: advice)
        }
        return .pass(name, subject, isDevice ? "is a block device" : "is on \(type)")
    }

    /// What /sys says of a disk, or of the disk of a partition.
    private func isRotational(_ device: dev_t) -> Bool {
        let numbers =
            "\(CLinux_device_major(UInt64(device))):\(CLinux_device_minor(UInt64(device)))"
        let folder = "/sys/dev/block/\(numbers)"
        let places = ["\(folder)/queue/rotational", "\(folder)/../queue/rotational"]
        return places.lazy.compactMap { TextFile.word(files.place($0)) }.first == "1"
    }

    /// Whether there is memory for the index.
    private func flashMemory(_ choice: FlashChoice) -> PreflightCheck {
        let size = (try? choice.place.open(readOnly: true))?.size ?? choice.option.size ?? 0
        let perBlock = Limits.flashContentBytes + Limits.flashMappedBytes
        let index = min(size, Limits.flashSize) / UInt64(Limits.blockSize) * perBlock
        let wanted = index + UInt64(options.ram)
        let available = Self.availableMemory ?? MountOptionsParser.machineMemory
        let (name, subject) = ("flash-memory", "index of flash '\(choice.option.path)'")
        let reason =
            "takes about \(ByteSize.readable(index)) beside ram=, of"
            + " \(ByteSize.readable(available)) that are available"
        return wanted > available
            ? .warn(name, subject, reason, mend: "use less of the device, or a smaller ram=")
            : .pass(name, subject, reason)
    }
}
