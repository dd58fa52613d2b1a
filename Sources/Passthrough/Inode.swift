import CLinux
import Glibc
import Synchronization
import Syscalls

/// A file of the datastore that the kernel or an NFS client has a name for. One object per file,
/// however many paths lead to it.
///
/// Lock order: an inode's `state` is a leaf, nothing else is locked while it is held.
package final class Inode: Sendable {
    package let node: NodeID
    package let handle: FileHandle
    /// S_IFMT part of the mode: a node id never changes its type.
    package let type: UInt32

    /// Names the file's block map in the read cache, `noBlockMap` before anything was cached.
    /// Dropping the map means giving the name up.
    package let blockMap: Atomic<UInt32>
    /// Bytes that clients see, own writes included.
    package let size = Atomic<UInt64>(0)
    /// Seconds of the monotonic clock at the last use, for eviction.
    package let lastUse = Atomic<UInt32>(0)
    /// The effective policies with the epoch of policies that they were found in:
    /// epoch << 16 | write policy << 8 | read policy.
    package let policy = Atomic<UInt64>(0)
    /// The folder that it was last seen in, 0 when that is not known.
    package let parent = Atomic<UInt64>(0)

    /// What the flash tier has of the file was compared with the file.
    package let isFlashBelieved = Atomic<Bool>(false)

    /// `ReadStreams.marks` of the state, for those who would rather not lock it.
    package let streamMarks = Atomic<UInt64>(0)

    package let state = Mutex(InodeState())
    package let ranges = RangeLocks()
    package let errors = WritebackErrors()
    package let counters = Counters()

    /// The name of no block map.
    package static let noBlockMap = UInt32.max

    package init(node: NodeID, handle: FileHandle, type: UInt32) {
        self.node = node
        self.handle = handle
        self.type = type
        blockMap = Atomic(Self.noBlockMap)
    }

    package var isDirectory: Bool { type == S_IFDIR }
    package var isRegular: Bool { type == S_IFREG }
}

/// What changes in an inode under its lock.
package struct InodeState {
    /// As last learnt from the datastore.
    package var attributes = Attributes()
    /// Monotonic nanoseconds of when they were learnt; 0 = never.
    package var sampledAt: UInt64 = 0
    /// What to compare with for changes made by others; nil until a sample was conclusive.
    package var sample: Sample?
    /// How the file looked when it was first met: for what an earlier life kept of it.
    package var firstSight = FirstSight.none
    /// We changed the file since `sample`, so a difference may be our own doing.
    package var changedSinceSample = false
    /// We changed something since `attributes` were learnt.
    package var attributesAreOld = false
    /// Changes of ours that began, and that ended.
    package var changesBegun: UInt64 = 0
    package var changesEnded: UInt64 = 0
    /// Writes that began before the block map was last dropped and have not ended; until they
    /// have, nothing read from the datastore may enter the new map.
    package var writesOfOldMap: UInt64 = 0
    /// Written and not yet known to be durable.
    package var isUnsynced = false
    /// A client's write may have gone to the datastore without being made durable: so it is taken
    /// for until the first fsync. What is destaged is unsynced too, but durable in the log.
    package var owesSync = true
    /// Sizes that the file may have when it is sampled next, because changes of ours are under way
    /// or were when an earlier server died; nil: its size.
    package var sizes: ClosedRange<UInt64>?
    /// The block map is an earlier server's, and the file was not sampled since.
    package var isInherited = false
    /// An earlier server's clients may have it open.
    package var mayBeOpen = false
    /// Where a note for the next server lies, while there is a block map.
    package var notePlace: FileNotePlace?
    /// How often the kernel has it open.
    package var openCount = 0
    /// Keeps an unlinked file readable while the kernel has it open.
    package var orphan: BackingFile?
    /// No name leads to it any more.
    package var isUnlinked = false
    /// The name in `parent` that last led to it, empty when none did.
    package var name: [UInt8] = []
    /// Runs of sequential reading, most recent last.
    package var streams = ReadStreams()
    /// Entries of a directory that were read and not yet answered.
    package var listing: DirectoryListing?

    package init() {}
}

/// A file as it looked before this server changed anything in it.
package enum FirstSight: Sendable {
    /// It was not looked at.
    case none
    case sample(Sample)
    /// It changed meanwhile, or nobody looked in time: nothing that was kept of it counts.
    case changed
}

/// What a change by others shows in.
package struct Sample: Equatable, Sendable {
    package var size: UInt64
    package var modifiedSeconds: Int64
    package var modifiedNanoseconds: UInt32
    package var changedSeconds: Int64
    package var changedNanoseconds: UInt32

    package init(
        size: UInt64, modifiedSeconds: Int64, modifiedNanoseconds: UInt32, changedSeconds: Int64,
        changedNanoseconds: UInt32
    ) {
        self.size = size
        self.modifiedSeconds = modifiedSeconds
        self.modifiedNanoseconds = modifiedNanoseconds
        self.changedSeconds = changedSeconds
        self.changedNanoseconds = changedNanoseconds
    }

    package init(_ attributes: Attributes) {
        size = attributes.size
        modifiedSeconds = attributes.modified_seconds
        modifiedNanoseconds = attributes.modified_nanoseconds
        changedSeconds = attributes.changed_seconds
        changedNanoseconds = attributes.changed_nanoseconds
    }
}
