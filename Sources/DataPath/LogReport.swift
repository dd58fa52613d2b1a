import Policy
import Syscalls

/// The journal at one moment.
package struct LogReport: Equatable, Sendable {
    /// The device.
    package var path = ""
    /// `opening`, `recovering`, `on`, `quiesced`, or `off: …` with the reason why nothing more is
    /// acknowledged from it. What is in it goes to the datastore in any case.
    package var state = "opening"
    /// Bytes of the log, and those of them that are in use.
    package var capacity: UInt64 = 0
    package var used: UInt64 = 0
    /// Bytes that are only in the log, and of how many files.
    package var dirtyBytes: UInt64 = 0
    package var dirtyFiles: UInt64 = 0
    /// Dirty data from which writers are slowed.
    package var dirtyMax: UInt64 = 0
    /// Seconds since the oldest of it was written; 0 when there is none.
    package var oldestSeconds: UInt64 = 0
    /// A write or a flush of the device failed: nothing is acknowledged from it any more.
    package var isPoisoned = false
    /// Bytes a second that go to the datastore now.
    package var destageRate: UInt64 = 0
    /// Bytes that went to the datastore since the mount.
    package var destagedBytes: UInt64 = 0
    /// Files whose data could not be written and was put aside in the state folder.
    package var setAsideFiles: UInt64 = 0
    /// What was lost when a mount was made without its log; empty when nothing was.
    package var lastLoss = ""

    package init() {}

    /// True when nothing is in the log that is not on the datastore.
    package var isAllHome: Bool { dirtyBytes == 0 && dirtyFiles == 0 }
}

/// What an administrator is told of the journal, in words that stay the same.
package enum LogEvents {
    /// A file's data could not be written and was put aside. `place` is where it lies now.
    package static func setAside(_ file: String, bytes: UInt64, reason: String, place: String) {
        Events.raise(
            .log, .problem,
            "\(ByteSize.readable(bytes)) of '\(file)' could not be written to the datastore"
                + " (\(reason)) and are kept in \(place)")
    }

    /// A file was changed by others while data for it waited in the log.
    package static func conflict(_ file: String, bytes: UInt64, place: String) {
        Events.raise(
            .log, .problem,
            "'\(file)' was changed on the datastore while \(ByteSize.readable(bytes)) for it waited"
                + " in the log; they were not written and are kept in \(place)")
    }

    /// A mount was made without the log that it should have had. Answers the text for
    /// `LogReport.lastLoss`.
    @discardableResult
    package static func discarded(_ mark: LogMark) -> String {
        let text = "discard_log: \(mark.loss) lost"
        Events.raise(.log, .problem, text)
        return text
    }
}
