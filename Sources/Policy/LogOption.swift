/// `log=PATH[:SIZE]`: where the journal lies.
package struct LogOption: Sendable, Equatable {
    /// A block device or a file, absolute.
    package var path: String
    /// Bytes of a file that is made when it is not there; nil: it has to be there.
    package var size: UInt64?

    package init(path: String, size: UInt64? = nil) {
        self.path = path
        self.size = size
    }

    /// Reads what stands behind `log=`; nil for `none` (`DevicePath.parse`). Throws a refusal with
    /// exit status 2.
    package static func parse(_ text: String) throws(Refusal) -> LogOption? {
        try DevicePath.parse(text, key: "log", minimum: Limits.minimumLog, example: ":16G")
            .map { LogOption(path: $0.path, size: $0.size) }
    }

    /// What `parse` reads back.
    package var text: String { DevicePath.text(path, size) }
}

/// `destage_order=`: in which order dirty data goes to the datastore.
package enum DestageOrder: String, Sendable, CaseIterable {
    /// Epochs one after the other; inside an epoch writes to the same place are merged. The
    /// datastore equals a past state whenever an epoch is through.
    case epoch
    /// Writes one after the other in the order of their acknowledgement, nothing merged. The
    /// datastore equals a past state at every moment.
    case strict
}

extension Limits {
    /// Smallest log, in bytes: below it, the segments that recovery keeps free leave no room for
    /// a burst of anything.
    package static let minimumLog: UInt64 = 32 << 20

    /// Smallest `dirty_max=`, in bytes: a single request of a client has up to 1 MiB.
    package static let minimumDirty: UInt64 = 4 << 20

    /// Seconds that changes are held back for a snapshot beyond what was asked for: for the start
    /// of the command and the word that it ended.
    package static let quiesceMargin: UInt64 = 10

    /// Seconds that dirty data may wait in the log before it is worth an alert, unless the
    /// configuration of alerts says otherwise: a datastore that takes writes has it much earlier.
    package static let dirtyAge: UInt64 = 300

    /// Seconds that the log must have been above `dirty_max` to be worth an alert: a burst fills
    /// it for a moment.
    package static let logFilling: UInt64 = 10

    /// Milliseconds in which a log that is about to be taken away must have been emptied: beyond
    /// that the command is refused, and may be given again.
    package static let leavingLog: UInt64 = 45_000

    /// Most seconds of `destage_delay=`: what waits longer is forgotten by those who wait for it.
    package static let destageDelay: UInt64 = 3600
}
