import Synchronization
import Syscalls

/// What is in the journal and not at the datastore yet: which files, which of their bytes, and in
/// which epochs. Control structures only, in memory; the bytes are in the log.
///
/// Epochs follow one another: one is open and takes changes, the closed ones wait for the destager,
/// oldest first. A file that the datastore does not take has left that order: what it has of
/// epochs that are done is *parked* with the file, below all that is newer.
///
/// Whoever changes a file has locked the range he changes, so that records of the same bytes are
/// inserted in the order of their positions.
package final class DirtyData: Sendable {
    /// A file with changes of one or several epochs, the oldest first.
    struct File {
        struct Layer {
            let epoch: Epoch
            let changes: FileChanges
        }
        let handle: [UInt8]
        var layers: [Layer] = []
        /// Its records below are at the datastore already, in the strict order: from an earlier
        /// life.
        var doneBelow: LogPosition = 0
        /// Its last name is about to go or has gone.
        var isRemovalExpected = false
        /// The first layer is of epochs that are done: the datastore did not take it.
        var isParked = false
        /// Why the datastore does not take it.
        var trouble: FileTrouble?
    }

    struct State {
        var files: [UInt64: File] = [:]
        var closed: [Epoch] = []
        var open = Epoch(id: 1)
        /// Changes that have begun and not ended; all of them are of the open epoch.
        var changing = 0
        /// The open epoch is being closed, or the file is carried: changes wait.
        var isExclusive = false
        /// All records below are done with, but for what parked files and readers hold.
        var finishedTo: LogPosition = 0
        /// Done with but for readers, with the first position that they may need.
        var draining: [(epoch: Epoch, from: LogPosition)] = []
        /// Files whose records are done with and may still be in the log, with where they end.
        var unreleased: [UInt64: LogPosition] = [:]
        var extents = 0
        var bytes: UInt64 = 0
        /// The datastore may have all of what lies below in the log, but for what it may have lost
        /// of that: an earlier life was bringing it home.
        var begunBelow: LogPosition = 0
        /// What has happened since the destager looked last.
        var hasNews = false
        /// The open epoch is closed when its records span so many bytes of the log.
        var epochSpan = UInt64.max
    }

    let state: Condition<State>
    /// Files with changes: looked at without the lock.
    private let fileCount = Atomic<Int>(0)
    /// Records go to the datastore one by one and in order, so that all of them are kept.
    package let isStrict: Bool

    /// Nothing is dirty.
    package init(isStrict: Bool) {
        self.isStrict = isStrict
        state = Condition(State())
    }

    // MARK: - Changes

    /// A change begins, before its record is appended: answers the epoch it belongs to, which is
    /// not closed until `end`. Waits while an epoch is closed, which takes as long as the changes
    /// that are under way. Nobody may wait for room in the log between the two: the destager could
    /// not make any.
    package func begin() -> EpochID {
        let (epoch, isFull) =
            state.wait { state -> (EpochID, Bool)? in
                if state.isExclusive { return nil }
                if state.open.isFull(state.epochSpan) { return (0, true) }
                state.changing += 1
                return (state.open.id, false)
            } ?? (0, false)
        guard isFull else { return epoch }
        closeEpoch { $0.isFull($1) }
        return begin()
    }

    /// The change is over: its record is inserted, or failed.
    package func end() {
        let mustWake = state.withLock { state in
            state.changing -= 1
            return state.isExclusive && state.changing == 0
        }
        if mustWake { state.update { _ in } }
    }

    /// The record at `position` holds `length` bytes of the file from `offset` on.
    package func insert(
        file: UInt64, handle: [UInt8], offset: UInt64, length: UInt64, at position: LogPosition,
        time: Timestamp
    ) {
        change(file, handle, position, time) { changes, epoch in
            let length = UInt32(clamping: length)
            changes.write(Extent(start: offset, length: length, position: position, skip: 0))
            epoch.writtenBytes += UInt64(length)
            return KeptRecord(
                position: position, offset: offset, length: UInt64(length), kind: .data)
        }
    }

    /// The record at `position` cuts the file off or extends it to `size`; it had `before` until
    /// now, or `UInt64.max` when that is not known. What lies behind reads as zeros until it is
    /// written again, also when the file grows again.
    package func truncate(
        file: UInt64, handle: [UInt8], to size: UInt64, before: UInt64, at position: LogPosition,
        time: Timestamp
    ) {
        change(file, handle, position, time) { changes, _ in
            changes.truncate(to: size, before: before)
            return KeptRecord(position: position, offset: size, length: 0, kind: .truncate)
        }
    }

    /// The record at `position` makes `length` bytes from `offset` on zeros; the size stays.
    package func zero(
        file: UInt64, handle: [UInt8], offset: UInt64, length: UInt64, at position: LogPosition,
        time: Timestamp
    ) {
        change(file, handle, position, time) { changes, _ in
            changes.zero(offset, length)
            return KeptRecord(position: position, offset: offset, length: length, kind: .zero)
        }
    }

    /// A client has set the time of modification of a file that is dirty; nothing happens when it
    /// is not.
    package func setTimes(file: UInt64, handle: [UInt8], modified: Timestamp, at: LogPosition) {
        guard isDirty(file) else { return }
        change(file, handle, at, modified) { _, _ in nil }
    }

    /// The file is about to lose its last name: when the datastore does not know it any more, what
    /// is dirty of it may go without a word.
    package func expectRemoval(of file: UInt64) {
        state.withLock { $0.files[file]?.isRemovalExpected = true }
    }

    /// Drops all that is dirty of a file, in every epoch, also while it is destaged.
    package func forget(file: UInt64) {
        state.update { state in
            guard let known = state.files.removeValue(forKey: file) else { return }
            noteFileRemoved()
            for layer in known.layers {
                layer.epoch.files[file] = nil
                state.subtract(layer.changes)
            }
            if known.isParked, let parked = known.layers.first {
                state.drain(parked.epoch, from: parked.changes.firstPosition)
            }
            state.hasNews = true
        }
    }

    /// Applies a change to what the open epoch has of the file.
    private func change(
        _ file: UInt64, _ handle: [UInt8], _ position: LogPosition, _ time: Timestamp,
        _ body: (FileChanges, Epoch) -> KeptRecord?
    ) {
        let isFirst = state.withLock { state in
            let changes = layer(of: file, handle, &state)
            let (extents, bytes) = (changes.extents.count, changes.extents.dataBytes)
            let record = body(changes, state.open)
            if isStrict, let record { changes.records.append(record) }
            changes.modified = time
            changes.firstPosition = min(changes.firstPosition, position)
            state.extents += changes.extents.count - extents
            state.bytes = state.bytes &+ changes.extents.dataBytes &- bytes
            return state.open.note(position)
        }
        if isFirst { state.update { $0.hasNews = true } }
    }

    private func layer(
        of file: UInt64, _ handle: [UInt8], _ state: inout State
    ) -> FileChanges {
        if let changes = state.open.files[file] { return changes }
        let changes = FileChanges(file: file, handle: handle)
        state.open.files[file] = changes
        let layer = File.Layer(epoch: state.open, changes: changes)
        if state.files[file] == nil {
            fileCount.add(1, ordering: .releasing)
            state.files[file] = File(handle: handle, layers: [layer])
        } else {
            state.files[file]?.layers.append(layer)
        }
        return changes
    }

    // MARK: - Looking up

    /// A file has nothing dirty any more.
    func noteFileRemoved() { fileCount.subtract(1, ordering: .releasing) }

    /// True when no file has anything dirty; takes no lock.
    package var isEmpty: Bool { fileCount.load(ordering: .acquiring) == 0 }

    /// Puts the pieces of a range into `pieces`, in order and without holes. Nil when the file has
    /// nothing dirty at all. While the pin is held, the records that the pieces name stay in the
    /// log.
    package func pieces(
        file: UInt64, offset: UInt64, length: UInt64, into pieces: inout [DirtyPiece]
    ) -> DirtyPin? {
        if isEmpty { return nil }
        pieces.removeAll(keepingCapacity: true)
        return state.withLock { state in
            guard let known = state.files[file] else { return nil }
            var oldest: Int?
            let end = offset.addingReportingOverflow(length)
            known.forEachPart(from: offset, to: end.overflow ? .max : end.partialValue) {
                part, layer in
                pieces.append(part)
                if case .data = part { oldest = min(oldest ?? layer, layer) }
            }
            guard let oldest else { return DirtyPin(self, nil) }
            let epoch = known.layers[oldest].epoch
            epoch.pins += 1
            return DirtyPin(self, epoch)
        }
    }

    func unpin(_ epoch: Epoch) {
        state.withLock { state in
            epoch.pins -= 1
            guard epoch.pins == 0 else { return }
            if let index = state.draining.firstIndex(where: { $0.epoch === epoch }) {
                state.draining.remove(at: index)
                state.hasNews = true
            }
        }
    }

    /// What is at `offset` and where that ends, `UInt64.max` when it does not: for lseek(2) with
    /// SEEK_DATA and SEEK_HOLE, which have to ask below in gaps. Nil when the file is not dirty.
    package func part(of file: UInt64, at offset: UInt64) -> (part: DirtyPart, end: UInt64)? {
        if isEmpty { return nil }
        return state.withLock { state in
            guard let known = state.files[file] else { return nil }
            var end = UInt64.max
            switch known.part(at: offset, &end).part {
            case .extent: return (.data, end)
            case .zeros: return (.zeros, end)
            case .below: return (.gap, end)
            }
        }
    }

    /// Size and time of modification as clients see them; nil when nothing of the file is dirty.
    /// `below` tells the size at the datastore. It is asked behind the look at what is dirty, so
    /// that what leaves here meanwhile has arrived there.
    package func visibleState(of file: UInt64, below: () -> UInt64) -> FileState? {
        if isEmpty { return nil }
        return state.withLock { state in
            guard let layers = state.files[file]?.layers, let last = layers.last else {
                return nil
            }
            let size = layers.reduce(below()) { $1.changes.size(of: $0) }
            return FileState(size: size, modified: last.changes.modified)
        }
    }

    /// True when something of the file is only in the journal.
    package func isDirty(_ file: UInt64) -> Bool {
        if isEmpty { return false }
        return state.withLock { $0.files[file] != nil }
    }
}

/// What a part of a dirty file is.
package enum DirtyPart: Sendable {
    /// It was written.
    case data
    /// It was zeroed or cut off.
    case zeros
    /// Nothing dirty: what is below counts.
    case gap
}

/// Why a file is not taken by the datastore, and when it is tried again.
package struct FileTrouble: Sendable {
    /// What the datastore said last.
    package var error: Errno
    /// When it began, nanoseconds of the monotonic clock.
    package var since: UInt64
    /// How often it was tried.
    package var attempts: Int
    /// When it is tried next.
    package var retryAt: UInt64
}
