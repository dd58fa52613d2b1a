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
    /// The effective read policy with the epoch of policies that it was found in:
    /// epoch << 8 | policy.
    package let policy = Atomic<UInt64>(0)
    /// The folder that it was last seen in, 0 when that is not known.
    package let parent = Atomic<UInt64>(0)

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
    /// How often the kernel has it open.
    package var openCount = 0
    /// Keeps an unlinked file readable while the kernel has it open.
    package var orphan: BackingFile?
    /// No name leads to it any more.
    package var isUnlinked = false
    /// Its name in `parent`; kept only on datastores without handles.
    package var name: [UInt8] = []
    /// Runs of sequential reading, most recent last.
    package var streams = ReadStreams()
    /// Entries of a directory that were read and not yet answered.
    package var listing: DirectoryListing?

    package init() {}
}

/// What a change by others shows in.
package struct Sample: Equatable, Sendable {
    package var size: UInt64
    package var modifiedSeconds: Int64
    package var modifiedNanoseconds: UInt32
    package var changedSeconds: Int64
    package var changedNanoseconds: UInt32

    package init(_ attributes: Attributes) {
        size = attributes.size
        modifiedSeconds = attributes.modified_seconds
        modifiedNanoseconds = attributes.modified_nanoseconds
        changedSeconds = attributes.changed_seconds
        changedNanoseconds = attributes.changed_nanoseconds
    }
}

extension Inode {
    /// Begins a change of ours. Answers the block map whose blocks must be superseded.
    package func beginChange() -> UInt32 {
        state.withLock { state in
            state.changesBegun &+= 1
            state.changedSinceSample = true
            state.attributesAreOld = true
            return blockMap.load(ordering: .relaxed)
        }
    }

    /// Ends a change of ours that began under block map `map`.
    package func endChange(map: UInt32, unsynced: Bool) {
        state.withLock { state in
            state.changesEnded &+= 1
            state.attributesAreOld = true
            if unsynced { state.isUnsynced = true }
            if map != blockMap.load(ordering: .relaxed), state.writesOfOldMap > 0 {
                state.writesOfOldMap -= 1
            }
        }
    }

    /// Gives the file's block map up. Answers its name, `noBlockMap` when it had none.
    package func removeBlockMap() -> UInt32 {
        state.withLock { state in
            state.writesOfOldMap = state.changesBegun &- state.changesEnded
            return blockMap.exchange(Self.noBlockMap, ordering: .acquiringAndReleasing)
        }
    }

    /// The file's block map; the one that `make` names when it has none.
    package func blockMap(orMake make: () -> UInt32) -> UInt32 {
        let present = blockMap.load(ordering: .acquiring)
        if present != Self.noBlockMap { return present }
        return state.withLock { state in
            let present = blockMap.load(ordering: .acquiring)
            if present != Self.noBlockMap { return present }
            let made = make()
            blockMap.store(made, ordering: .releasing)
            // Changes under way have superseded blocks of no map: they must end first.
            state.writesOfOldMap = state.changesBegun &- state.changesEnded
            return made
        }
    }

    /// True when blocks read from the datastore now may enter the map `map`.
    package func mayFill(_ map: UInt32) -> Bool {
        state.withLock { state in
            state.writesOfOldMap == 0 && map == blockMap.load(ordering: .relaxed)
        }
    }
}
