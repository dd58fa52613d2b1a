/// Numbers of epochs, one after the other in the life of a server.
package typealias EpochID = UInt64

/// What the changes of one epoch have made of one file. Changed under the lock of `DirtyData` while
/// its epoch is open, and not at all afterwards.
package final class FileChanges: @unchecked Sendable {
    /// The file's node number.
    package let file: UInt64
    /// The file's handle, as the journal names it.
    package let handle: [UInt8]
    /// What was written and zeroed.
    package internal(set) var extents = ExtentMap()
    /// The smallest size it was cut off to: what lies below from there on is gone.
    package internal(set) var truncatedTo: UInt64?
    /// The size it was last given; nil when it has only been written to.
    package internal(set) var lastTruncation: UInt64?
    /// The end of the farthest write since then.
    package internal(set) var writtenTo: UInt64 = 0
    /// The time of the last change, or what a client set it to.
    package internal(set) var modified = Timestamp()
    /// The records, in order of their positions once the epoch is closed; only with the strict
    /// order.
    package internal(set) var records: [KeptRecord] = []
    /// The lowest position of a record that is needed.
    package internal(set) var firstPosition = LogPosition.max

    init(file: UInt64, handle: [UInt8]) {
        self.file = file
        self.handle = handle
    }

    /// The size that the file has at the end of the epoch, whatever it had before; nil when it has
    /// not been cut off or extended, so that it is at least `writtenTo`.
    package var finalSize: UInt64? { lastTruncation.map { max($0, writtenTo) } }

    /// The size that the changes give a file of this size.
    func size(of below: UInt64) -> UInt64 { max(lastTruncation ?? below, writtenTo) }

    func write(_ extent: Extent) {
        extents.insert(extent)
        writtenTo = max(writtenTo, extent.end)
    }

    func zero(_ offset: UInt64, _ length: UInt64) {
        extents.insert(Extent(zerosFrom: offset, length: length))
    }

    func truncate(to size: UInt64, before: UInt64) {
        if size < before { truncatedTo = min(truncatedTo ?? size, size) }
        extents.remove(from: size, to: .max)
        lastTruncation = size
        writtenTo = 0
    }

    /// The part of [offset, limit) that begins at `offset` and is all of one kind.
    enum Part {
        case extent(Extent)
        case zeros
        case below
    }

    /// What is at `offset` and how far, at most to `limit`.
    func part(at offset: UInt64, _ limit: inout UInt64) -> Part {
        if let extent = extents.extent(at: extents.cursor(endingAfter: offset)) {
            if extent.start <= offset {
                limit = min(limit, extent.end)
                return extent.isZeros ? .zeros : .extent(extent)
            }
            limit = min(limit, extent.start)
        }
        guard let truncatedTo else { return .below }
        if offset >= truncatedTo { return .zeros }
        limit = min(limit, truncatedTo)
        return .below
    }

    /// Lays the changes of a later epoch over these.
    func absorb(_ later: FileChanges) {
        if let cut = later.truncatedTo {
            extents.remove(from: cut, to: .max)
            truncatedTo = min(truncatedTo ?? cut, cut)
        }
        later.extents.forEach { extents.insert($0) }
        if let last = later.lastTruncation {
            lastTruncation = last
            writtenTo = later.writtenTo
            extents.remove(from: max(last, later.writtenTo), to: .max)
        } else {
            writtenTo = max(writtenTo, later.writtenTo)
        }
        modified = later.modified
        records += later.records
        firstPosition = min(firstPosition, later.firstPosition)
    }
}

/// A record that the strict order does again as it was: 40 bytes.
package struct KeptRecord: Sendable {
    package let position: LogPosition
    /// Where it begins in the file; for a truncation the new size.
    package let offset: UInt64
    package let length: UInt64
    package let kind: JournalRecord.Kind
}

/// Changes that go to the datastore together: when the last is there, the datastore is as the
/// clients saw it at one moment of the past.
package final class Epoch: @unchecked Sendable {
    package let id: EpochID
    /// Files that were changed, by node number. Guarded by the lock of `DirtyData`.
    var files: [UInt64: FileChanges] = [:]
    /// Records of this epoch and older ones lie below; known when it is closed.
    package internal(set) var end: LogPosition = 0
    /// The position of the first record; `.max` before there is one.
    var start = LogPosition.max
    /// The position of the last record.
    var lastPosition: LogPosition = 0
    /// The monotonic time of the first change, nanoseconds; 0 before it.
    var since: UInt64 = 0
    /// Readers that are reading from the log what no older epoch holds.
    var pins = 0
    /// Bytes of data that were written, overwritten ones included.
    package internal(set) var writtenBytes: UInt64 = 0

    init(id: EpochID) { self.id = id }
}
