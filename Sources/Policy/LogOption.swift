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

    /// Most seconds of `destage_delay=`: what waits longer is forgotten by those who wait for it.
    package static let destageDelay: UInt64 = 3600
}
