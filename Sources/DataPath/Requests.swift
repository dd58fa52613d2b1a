import Passthrough

/// Whom a new file belongs to.
package struct Caller: Sendable {
    package let uid: UInt32
    package let gid: UInt32

    package init(uid: UInt32, gid: UInt32) {
        self.uid = uid
        self.gid = gid
    }
}

/// A file as a lookup answers it.
package struct Entry: Sendable {
    package let node: NodeID
    package let attributes: Attributes
}

/// A time to set: utimensat(2).
package enum TimeChange: Sendable {
    case now
    case at(seconds: Int64, nanoseconds: UInt32)
}

/// Attributes to change, all that are not nil.
package struct AttributeChange: Sendable {
    package var mode: UInt32?
    package var uid: UInt32?
    package var gid: UInt32?
    package var size: UInt64?
    package var accessed: TimeChange?
    package var modified: TimeChange?
    /// The set-user-ID and set-group-ID bits go, because a user without rights over them changes
    /// the file.
    package var killSetID = false

    package init() {}
}

/// Takes directory entries until it is full.
package protocol DirectoryWriter {
    /// Adds an entry; `offset` is the cookie that continues after it, `type` a `DT_` constant.
    /// `entry` is there when attributes were asked for. False when there was no room for it.
    mutating func add(
        name: Name, offset: UInt64, inode: UInt64, type: UInt8, entry: Entry?
    ) -> Bool
}

/// The numbers of `user.forebay.stats` for one file, one directory tree or the whole datastore.
/// Blocks are 4 KiB.
package struct StatisticsReport: Sendable {
    package var reads: UInt64 = 0
    package var readBytes: UInt64 = 0
    package var writes: UInt64 = 0
    package var writeBytes: UInt64 = 0
    package var hitsRAM: UInt64 = 0
    package var hitsFlash: UInt64 = 0
    package var hitsDirty: UInt64 = 0
    package var hitsZero: UInt64 = 0
    package var misses: UInt64 = 0
    package var bypassed: UInt64 = 0
    package var backendReads: UInt64 = 0
    package var backendReadBytes: UInt64 = 0
    package var backendWrites: UInt64 = 0
    package var backendWriteBytes: UInt64 = 0
    /// Bytes of the file or tree that are in a tier, zeros not counted.
    package var cachedBytes: UInt64 = 0
    /// Reads that were answered without the datastore, and their bytes.
    package var savedReads: UInt64 = 0
    package var savedBytes: UInt64 = 0
    /// Writes that merged in the journal with others before they reached the datastore, and their
    /// bytes.
    package var savedWrites: UInt64 = 0
    package var savedWriteBytes: UInt64 = 0
    /// Bytes of the file or tree that are only in the journal.
    package var dirtyBytes: UInt64 = 0

    package init() {}
}

/// What only the whole datastore has.
package struct DatastoreReport: Sendable {
    /// Bytes of distinct contents in the RAM tier.
    package var uniqueBytesRAM: UInt64 = 0
    /// Bytes of distinct contents in the flash tier.
    package var uniqueBytesFlash: UInt64 = 0
    /// Bytes of distinct contents in any tier.
    package var uniqueBytes: UInt64 = 0
    /// The flash tier; nil when the mount has none.
    package var flash: FlashReport?
    /// The journal; nil when the mount has none.
    package var log: LogReport?
    /// Bytes that the RAM tier needs beside the frames.
    package var bookkeepingBytes: UInt64 = 0
    /// Bytes that the RAM tier may use in all.
    package var budgetBytes: UInt64 = 0
    /// Bytes of the pages that the RAM tier has: those that a successor gets, and the server's own.
    package var sharedBytesRAM: UInt64 = 0
    package var ownBytesRAM: UInt64 = 0
    /// `healthy`, or `degraded: …`, `away: …` with the reason.
    package var health = "healthy"
    /// Changes of the datastore's health since the mount.
    package var healthTransitions: UInt64 = 0
    /// Inodes known in memory.
    package var inodes: UInt64 = 0
    /// Descriptors open on the datastore.
    package var descriptors: UInt64 = 0
    /// Evictions from the RAM tier since the mount.
    package var evictions: UInt64 = 0

    package init() {}
}
