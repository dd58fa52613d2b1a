import CLinux
import Devices
import Glibc
import Journal
import Passthrough
import Policy
import Synchronization
import Syscalls

/// Write-back to the datastore from a log device.
typealias DatastoreWriteBack = WriteBack<FileDevice, DatastoreTarget>

// Changes of files whose policy is `back`: they are answered when the log has them.
extension Datastore {
    // MARK: - Which way a change goes

    /// The log, if a write of `count` bytes at `offset` is to be answered from it.
    func logForWrite(_ inode: Inode, offset: UInt64, count: Int) -> DatastoreWriteBack? {
        guard let writeBack, writeBack.accepts, !settings.isBypassing, !settings.isLogLeaving,
            effectiveWritePolicy(inode) == .back,
            hasSpace(for: inode, end: offset + UInt64(count))
        else { return nil }
        return writeBack
    }

    /// The log, if the file has changes in it that this one can follow. The caller has locked what
    /// it changes.
    func logIfDirty(_ inode: Inode) -> DatastoreWriteBack? {
        guard let writeBack, writeBack.accepts, writeBack.isDirty(inode.node.rawValue) else {
            return nil
        }
        return writeBack
    }

    /// Waits until what the log has of a file now is at the datastore: a change that goes there
    /// must not be overtaken by what was written before. The caller has locked what it changes, so
    /// that nothing of that follows.
    func bringHome(_ inode: Inode) throws(Errno) {
        guard let writeBack, inode.isRegular else { return }
        guard WaitMode.mayWait else { throw .mustWait }
        if writeBack.journal.isPoisoned { return try giveUpLog(writeBack) }
        try writeBack.drain(inode.node.rawValue)
        try writeBack.awaitRelease(
            of: inode.node.rawValue, until: monotonicNanoseconds() + waitLimit())
        // Others may have written elsewhere in it meanwhile.
        if writeBack.isDirty(inode.node.rawValue) {
            try writeBack.noteChange(of: try dirtyFile(inode))
        }
    }

    /// A log that failed cannot let go of what it holds: all of it is brought home, and it is never
    /// used again as it is, before the first write goes past it.
    private func giveUpLog(_ writeBack: DatastoreWriteBack) throws(Errno) {
        try logGivenUp.withLock { (isGivenUp) throws(Errno) in
            if isGivenUp { return }
            try writeBack.drain(nil)
            try RememberedLog(folder: options.state).discard(writeBack.journal.header.uuid)
            isGivenUp = true
        }
    }

    /// Whether the datastore will have room for a write when it is destaged. What needs none was
    /// given its space before.
    private func hasSpace(for inode: Inode, end: UInt64) -> Bool {
        // Only the datastore knows how large its files can be.
        if end > Limits.certainFileSize, end > inode.size.load(ordering: .relaxed) { return false }
        guard isSpaceShort.load(ordering: .relaxed) else { return true }
        let (size, blocks) = inode.state.withLock { ($0.attributes.size, $0.attributes.blocks) }
        return end <= size && blocks * 512 >= size
    }

    // MARK: - Changes

    /// Answers a write from the log.
    func write(
        _ inode: Inode, _ bytes: UnsafeRawBufferPointer, at offset: UInt64,
        to log: DatastoreWriteBack, isStable: Bool, killSetID: Bool
    ) throws(Errno) {
        guard WaitMode.mayReadFlash else { throw .mustReadFlash }
        if killSetID { try clearSetID(try file(inode, .path)) }
        let end = offset + UInt64(bytes.count)
        // Also while it waits for room: a write that was told to try later, and is tried again,
        // must not overtake itself.
        try whileLocked(inode, offset, end) { () throws(Errno) in
            try whenRoomy(log, bytes.count) { () throws(Errno) in
                try log.write(
                    try dirtyFile(inode), bytes, at: offset, isDurable: isStable)
            }
        }
        logged.writes.add(1, ordering: .relaxed)
        logged.bytes.add(UInt64(bytes.count), ordering: .relaxed)
        count(inode, .writes, 1)
        count(inode, .writeBytes, UInt64(bytes.count))
    }

    /// Keeps a change in the log. False when the log fails: it then goes to the datastore like any
    /// other from now on.
    func unlessFailed(
        _ log: DatastoreWriteBack, _ body: () throws(Errno) -> Void
    ) throws(Errno) -> Bool {
        do throws(Errno) {
            try body()
            return true
        } catch {
            guard log.journal.isPoisoned else { throw error }
            guard WaitMode.mayWait else { throw .mustWait }
            return false
        }
    }

    /// Cuts a file off, or extends it with a hole, behind what the log has of it. The caller has
    /// locked the whole file.
    func truncate(
        _ inode: Inode, to size: UInt64, in log: DatastoreWriteBack, killSetID: Bool
    ) throws(Errno) {
        if killSetID { try clearSetID(try file(inode, .path)) }
        try whenRoomy(log, 0) { () throws(Errno) in
            try log.truncate(try dirtyFile(inode), to: size)
        }
    }

    /// Makes bytes read as zeros, and the file longer when `extends` and they end behind it. The
    /// caller has locked them.
    func zero(
        _ inode: Inode, from offset: UInt64, length: UInt64, in log: DatastoreWriteBack,
        extends: Bool
    ) throws(Errno) {
        let size = visibleSize(inode)
        let end = offset + length
        if offset < size {
            try whenRoomy(log, 0) { () throws(Errno) in
                try log.zero(try dirtyFile(inode), at: offset, length: min(end, size) - offset)
            }
        }
        guard extends, end > size else { return }
        try whenRoomy(log, 0) { () throws(Errno) in
            try log.truncate(try dirtyFile(inode), to: end)
        }
    }

    /// What the log has to know of a file before its first record.
    func dirtyFile(_ inode: Inode) throws(Errno) -> DirtyFile {
        var file = DirtyFile(node: inode.node.rawValue, handle: inode.handle.encoded)
        guard let writeBack, !writeBack.isDirty(file.node) else { return file }
        file.isNew = true
        let isConclusive = { (state: borrowing InodeState) in
            state.sample != nil && !state.changedSinceSample
        }
        if !inode.state.withLock({ isConclusive($0) }) { _ = try sample(inode, forced: true) }
        inode.state.withLock { state in
            if isConclusive(state), let sample = state.sample { file.state = FileState(sample) }
        }
        return file
    }

    /// Runs a change alone on a range. A thread that may not wait for the datastore does not wait
    /// for those either who hold the range and do.
    private func whileLocked(
        _ inode: Inode, _ start: UInt64, _ end: UInt64, _ body: () throws(Errno) -> Void
    ) throws(Errno) {
        if WaitMode.mayWait {
            inode.ranges.lock(start, end)
        } else if !inode.ranges.tryLock(start, end) {
            throw .mustWait
        }
        defer { inode.ranges.unlock(start, end) }
        try body()
    }

    /// Appends to the log when it has room, on a thread that others do not need for reading when
    /// that has to be waited for. Many may find the same room: who finds it taken waits again.
    func whenRoomy(
        _ log: DatastoreWriteBack, _ bytes: Int, _ append: () throws(Errno) -> Void
    ) throws(Errno) {
        while true {
            if !log.isRoomy(bytes) {
                guard WaitMode.mayWait else { throw .mustWait }
                try log.waitForRoom(bytes)
            }
            do throws(Errno) {
                return try append()
            } catch {
                guard error == .noSpace else { throw error }
                guard WaitMode.mayWait else { throw .mustWait }
                sleep(milliseconds: Limits.roomInterval)
            }
        }
    }

    /// A change that went to the datastore made a file longer that has data in the log.
    func noteGrowth(_ inode: Inode, to end: UInt64) throws(Errno) {
        guard let log = logIfDirty(inode), visibleSize(inode) < end else { return }
        try whenRoomy(log, 0) { () throws(Errno) in
            try log.truncate(try dirtyFile(inode), to: end)
        }
    }

    // MARK: - What clients see

    /// The size with what is in the log.
    func visibleSize(_ inode: Inode) -> UInt64 {
        let below = { inode.size.load(ordering: .acquiring) }
        return writeBack?.visibleState(of: inode.node.rawValue, below: below)?.size ?? below()
    }

    /// Attributes with what is in the log.
    func visible(_ inode: Inode, _ attributes: Attributes) -> Attributes {
        guard inode.isRegular, let writeBack else { return attributes }
        var shown = attributes
        let below = { inode.size.load(ordering: .acquiring) }
        guard let state = writeBack.visibleState(of: inode.node.rawValue, below: below) else {
            // The attributes may be from before the last of it was destaged.
            shown.size = below()
            return shown
        }
        shown.size = state.size
        shown.modified_seconds = state.modified.seconds
        shown.modified_nanoseconds = state.modified.nanoseconds
        let changed = Timestamp(
            seconds: attributes.changed_seconds, nanoseconds: attributes.changed_nanoseconds)
        if changed < state.modified {
            shown.changed_seconds = state.modified.seconds
            shown.changed_nanoseconds = state.modified.nanoseconds
        }
        return shown
    }
}

extension FileState {
    init(_ sample: Sample) {
        self.init(
            size: sample.size,
            modified: Timestamp(
                seconds: sample.modifiedSeconds, nanoseconds: sample.modifiedNanoseconds))
    }
}

extension Timestamp {
    /// The moment that a client asks for.
    init(_ change: TimeChange) {
        switch change {
        case .now: self = .now
        case .at(let seconds, let nanoseconds):
            self.init(seconds: seconds, nanoseconds: nanoseconds)
        }
    }
}
