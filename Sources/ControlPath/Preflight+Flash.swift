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
        let place = choice.place.device
        guard place.isThere else { return fileToMake("flash-device", place, choice.option.size) }
        return Self.check("flash-device", choice, "is formatted and free for this mount") {
            () throws(Refusal) in
            try choice.checkOwner(of: try choice.place.open(readOnly: true))
        }
    }

    /// A refusal as a check.
    private static func check(
        _ name: String, _ choice: FlashChoice, _ reason: String, _ body: () throws(Refusal) -> Void
    ) -> PreflightCheck {
        check(name, choice.place.device, reason, body)
    }

    /// Whether it is faster than what it is the cache of.
    private func flashDisk(_ choice: FlashChoice) -> PreflightCheck {
        disk("flash-disk", choice.place.device, inMemory: .warn)
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
