import Devices
import Glibc
import Journal
import Policy
import Syscalls

/// The device of the journal. Looked at, never written.
extension Preflight {
    /// The checks of `log=`. Without it there is only whether an earlier one is missed.
    func log() -> [PreflightCheck] {
        let choice = LogChoice(options)
        guard let place = choice.place else { return missedLog(choice) + discarding() }
        let checks = [logPlace(place)]
        guard checks[0].result != .fail else { return checks }
        let device = logDevice(choice, place)
        let more = [disk("log-disk", place.device, inMemory: .fail)] + discarding()
        guard device.result != .fail else { return checks + [device] + more }
        return checks + [device] + more + [logCache(place), logMirror(place)] + logSize(place)
    }

    /// Whether the file lies where writes to it would be journalled in itself.
    func logPlace(_ place: LogPlace) -> PreflightCheck {
        Self.check("log-place", place.device, "is not inside backing or mountpoint") {
            () throws(Refusal) in try place.device.checkOutside(options)
        }
    }

    /// Whether it can be opened directly, is formatted, is this mount's or nobody's, and whether it
    /// is the one that may hold the latest writes.
    private func logDevice(_ choice: LogChoice, _ place: LogPlace) -> PreflightCheck {
        let isThere = place.device.isThere
        let reason = "is formatted and free for this mount"
        let check = Self.check("log-device", place.device, reason) { () throws(Refusal) in
            guard isThere else { return _ = try choice.judge(found: nil) }
            let header = try choice.look(at: place, readOnly: true)
            _ = try choice.judge(found: header.uuid)
        }
        guard check.result != .fail, !isThere else { return check }
        return fileToMake("log-device", place.device, options.log?.size)
    }

    /// A datastore whose latest writes are in a log must not be mounted without.
    private func missedLog(_ choice: LogChoice) -> [PreflightCheck] {
        do throws(Refusal) {
            let warning = try choice.judge(found: nil)
            if warning.isEmpty { return [] }
            return [.warn("log-device", "the log", warning, mend: "mount with the log")]
        } catch {
            return [.fail("log-device", error.what, error.why, mend: error.hint)]
        }
    }

    /// `discard_log` is for one mount, never for every boot.
    private func discarding() -> [PreflightCheck] {
        guard options.discardLog else { return [] }
        return [
            .warn(
                "log-discard", "option 'discard_log'",
                "gives up what a missing log holds, at each mount",
                mend: "take it out again after this mount")
        ]
    }

    /// What an acknowledgement costs: a device that loses what it has not flushed makes every
    /// stable write wait for a flush.
    private func logCache(_ place: LogPlace) -> PreflightCheck {
        let subject = place.device.subject
        let advice = "a device with power-loss protection is faster, see docs/journal.md"
        var status = stat()
        guard stat(place.path, &status) == 0, status.st_mode & S_IFMT == S_IFBLK else {
            return .warn(
                "log-cache", subject, "is a file: each stable write waits for its disk's flush",
                mend: "name a device of its own")
        }
        guard let text = text("write_cache", of: status.st_rdev) else {
            return .warn(
                "log-cache", subject, "does not tell whether its write cache is volatile",
                mend: advice)
        }
        return WriteCache.isAbsent(text: text)
            ? .pass("log-cache", subject, "has no volatile write cache: flushes cost nothing")
            : .warn(
                "log-cache", subject,
                "has a volatile write cache: each stable write waits for a flush", mend: advice)
    }

    /// A single log device is the only copy of what is dirty.
    private func logMirror(_ place: LogPlace) -> PreflightCheck {
        let subject = place.device.subject
        let advice = "put it on md RAID-1 or DRBD, see docs/journal.md"
        var status = stat()
        guard stat(place.path, &status) == 0, status.st_mode & S_IFMT == S_IFBLK else {
            return .warn("log-mirror", subject, "is a file on one machine", mend: advice)
        }
        let folder = blockFolder(status.st_rdev)
        let level = TextFile.word(files.place("\(folder)/md/level"))
        if let level, ["raid1", "raid10"].contains(level) {
            return .pass("log-mirror", subject, "is mirrored (\(level))")
        }
        let name = TextFile.link(files.place(folder))?.split(separator: "/").last ?? ""
        if name.hasPrefix("drbd") { return .pass("log-mirror", subject, "is mirrored (DRBD)") }
        return .warn(
            "log-mirror", subject, "is one device: what is dirty is lost with it", mend: advice)
    }

    /// Whether writers would be slowed at all before the log is full.
    private func logSize(_ place: LogPlace) -> [PreflightCheck] {
        guard let most = options.dirtyMax,
            let size = (try? place.open(readOnly: true))?.size ?? options.log?.size, most > size
        else { return [] }
        return [
            .warn(
                "log-size", place.device.subject,
                "has \(ByteSize.readable(size)), less than dirty_max=\(ByteSize.exact(most))",
                mend: "leave dirty_max= out, or use at most 3/4 of the log")
        ]
    }
}
