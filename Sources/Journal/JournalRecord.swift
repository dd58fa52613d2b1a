/// One change of a file, as the journal keeps it.
package struct JournalRecord: Equatable, Sendable {
    /// What was done to the file. The numbers are part of the format.
    package enum Kind: UInt8, Sendable {
        /// `length` bytes were written at `offset`; they are the record's payload.
        case data = 1
        /// The file was cut off or extended to the size `offset`.
        case truncate = 2
        /// The bytes from `offset` on, `length` of them, read as zeros; the size stays.
        case zero = 3
        /// A client has set the time of modification to `time`.
        case times = 4
        /// The file is about to lose its last name: what is there of it may be dropped when it is
        /// gone.
        case forget = 5
        /// The file at the datastore has the size `offset` and was modified at `time`.
        case state = 6
        /// The file at the datastore is about to be changed by us: what it looked like before says
        /// nothing any more.
        case destaging = 7
    }

    package var kind: Kind
    /// The file's node number.
    package var file: UInt64
    package var offset: UInt64
    package var length: UInt64
    /// When the change was made, for the file's time of modification.
    package var time: Timestamp

    package init(
        _ kind: Kind, file: UInt64, offset: UInt64 = 0, length: UInt64 = 0,
        time: Timestamp = Timestamp()
    ) {
        self.kind = kind
        self.file = file
        self.offset = offset
        self.length = length
        self.time = time
    }
}

/// A moment in seconds and nanoseconds since 1970, as statx(2) tells it.
package struct Timestamp: Comparable, Sendable {
    package var seconds: Int64
    package var nanoseconds: UInt32

    package init(seconds: Int64 = 0, nanoseconds: UInt32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// Earlier before later.
    package static func < (first: Timestamp, second: Timestamp) -> Bool {
        (first.seconds, first.nanoseconds) < (second.seconds, second.nanoseconds)
    }
}

/// How a file looked at the datastore, to find out whether others changed it meanwhile.
package struct FileState: Equatable, Sendable {
    package var size: UInt64
    package var modified: Timestamp

    package init(size: UInt64, modified: Timestamp) {
        self.size = size
        self.modified = modified
    }

    /// What a record of the kind `state` tells; nil for any other.
    package init?(_ record: JournalRecord) {
        guard record.kind == .state else { return nil }
        self.init(size: record.offset, modified: record.time)
    }

    /// The record that tells it of a file. It has no payload.
    package func record(of file: UInt64) -> JournalRecord {
        JournalRecord(.state, file: file, offset: size, time: modified)
    }
}

/// Where a record lies in the log, counted in bytes since the log was formatted: it only grows,
/// through all turns of the ring, so that it tells the order of records as well.
package typealias LogPosition = UInt64
