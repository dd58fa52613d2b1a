import Syscalls

// Epochs: closing, finishing, and what of the log is free.
extension DirtyData {
    /// Closes the open epoch, if it holds anything: waits for the changes that are under way.
    /// Answers the number that all closed epochs have at most.
    @discardableResult
    package func closeEpoch() -> EpochID { closeEpoch { _, _ in true } }

    /// Closes the open epoch if it is still wanted when nothing is under way.
    @discardableResult
    func closeEpoch(_ isWanted: (Epoch, UInt64) -> Bool) -> EpochID {
        exclusively {
            state.update { state in
                if state.open.isUsed, isWanted(state.open, state.epochSpan) { state.close() }
                return state.open.id - 1
            }
        }
    }

    /// Runs `body` with no change under way, and none begins before it returns.
    func exclusively<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        _ = state.wait { state -> Void? in
            if state.isExclusive { return nil }
            state.isExclusive = true
            return ()
        }
        _ = state.wait { $0.changing > 0 ? nil : () }
        defer { state.update { $0.isExclusive = false } }
        return try body()
    }

    /// The open epoch is closed by whoever begins a change when its records span more than so many
    /// bytes of the log.
    package func setEpochSpan(_ bytes: UInt64) { state.withLock { $0.epochSpan = bytes } }

    /// The oldest closed epoch.
    package func oldestClosed() -> Epoch? { state.withLock { $0.closed.first } }

    /// The files of a closed epoch that have not been forgotten.
    func changes(in epoch: Epoch) -> [FileChanges] {
        state.withLock { _ in epoch.files.values.sorted { $0.file < $1.file } }
    }

    /// False when the changes were dropped meanwhile, because the file is gone.
    func isCurrent(_ changes: FileChanges) -> Bool {
        state.withLock { state in
            state.files[changes.file]?.layers.contains { $0.changes === changes } ?? false
        }
    }

    /// The oldest closed epoch is at the datastore, all of it: what is left of it goes.
    package func finish(_ epoch: Epoch) {
        state.update { state in
            guard state.closed.first === epoch else { return }
            state.closed.removeFirst()
            let from = state.finishedTo
            state.finishedTo = max(from, epoch.end)
            for (file, changes) in epoch.files {
                state.subtract(changes)
                state.unreleased[file] = state.finishedTo
                removeLayer(changes, of: file, &state)
            }
            epoch.files = [:]
            state.drain(epoch, from: min(from, epoch.start))
        }
    }

    /// Takes a layer from its file, and the file with the last one.
    func removeLayer(_ changes: FileChanges, of file: UInt64, _ state: inout State) {
        state.files[file]?.layers.removeAll { $0.changes === changes }
        guard state.files[file]?.layers.isEmpty == true else { return }
        state.files[file] = nil
        noteFileRemoved()
    }

    /// The log may be used again up to here: older records are needed by nobody. `head` is where
    /// the log ends now: all of it is free when nothing is dirty.
    package func releasable(head: () -> LogPosition) -> LogPosition {
        state.withLock { state in
            var position = state.finishedTo
            if state.files.isEmpty, state.closed.isEmpty, state.changing == 0,
                !state.open.isUsed
            {
                position = max(position, head())
            }
            for file in state.files.values where file.isParked {
                position = min(position, file.layers[0].changes.firstPosition)
            }
            for entry in state.draining { position = min(position, entry.from) }
            return position
        }
    }

    /// The log holds nothing before `position` any more.
    func noteReleased(_ position: LogPosition) {
        state.withLock { state in
            state.unreleased = state.unreleased.filter { $0.value > position }
        }
    }

    /// A recovery would find changes of the file in the log, although they are at the datastore.
    func isUnreleased(_ file: UInt64) -> Bool {
        state.withLock { $0.unreleased[file] != nil }
    }

    // MARK: - For the destager

    /// Waits until something happens that a destager wants to know, at most until `deadline`.
    func waitForNews(until deadline: UInt64) {
        _ = state.wait(until: deadline) { $0.hasNews ? () : nil }
        state.withLock { $0.hasNews = false }
    }

    /// Ends a wait for news.
    func tellNews() { state.update { $0.hasNews = true } }

    /// When the open epoch took its first change, nanoseconds of the monotonic clock; nil when it
    /// has none.
    func openSince() -> UInt64? { state.withLock { $0.open.isUsed ? $0.open.since : nil } }

    // MARK: - Figures

    /// Bytes of a file that are only in the journal.
    package func dirtyBytes(of file: UInt64) -> UInt64 {
        if isEmpty { return 0 }
        return state.withLock { state in
            state.files[file]?.layers.reduce(0) { $0 + $1.changes.extents.dataBytes } ?? 0
        }
    }

    /// Extents in memory, some 40 bytes each.
    package var extentCount: Int { state.withLock { $0.extents } }

    /// Bytes of data that are only in the journal.
    package var bytes: UInt64 { state.withLock { $0.bytes } }

    /// Figures of all of it.
    package var figures: DirtyFigures {
        state.withLock { state in
            var figures = DirtyFigures(
                files: state.files.count, bytes: state.bytes, extents: state.extents,
                epochs: state.closed.count + (state.open.isUsed ? 1 : 0))
            let oldest = state.closed.first ?? state.open
            if oldest.isUsed { figures.since = oldest.since }
            for file in state.files.values {
                guard let trouble = file.trouble else { continue }
                figures.parkedFiles += 1
                figures.since = min(figures.since ?? trouble.since, trouble.since)
            }
            return figures
        }
    }
}

/// How much is dirty.
package struct DirtyFigures: Equatable, Sendable {
    /// Files with changes that are not at the datastore.
    package var files = 0
    /// Bytes of data that are only in the log, those that were overwritten not counted.
    package var bytes: UInt64 = 0
    /// Extents in memory, some 40 bytes each.
    package var extents = 0
    /// Epochs with changes, the open one included.
    package var epochs = 0
    /// Files that the datastore does not take at the moment.
    package var parkedFiles = 0
    /// The monotonic time of the oldest change that is dirty, nanoseconds, to the epoch.
    package var since: UInt64?

    package init(files: Int = 0, bytes: UInt64 = 0, extents: Int = 0, epochs: Int = 0) {
        self.files = files
        self.bytes = bytes
        self.extents = extents
        self.epochs = epochs
    }
}

extension DirtyData.State {
    /// Those changes are not dirty any more.
    mutating func subtract(_ changes: FileChanges) {
        extents -= changes.extents.count
        bytes = bytes &- changes.extents.dataBytes
    }

    /// The open epoch takes no more changes, and a new one begins.
    mutating func close() {
        open.end = max(open.lastPosition &+ 1, finishedTo)
        closed.append(open)
        open = Epoch(id: open.id + 1)
        hasNews = true
    }

    /// What readers still read of an epoch that is done stays in the log.
    mutating func drain(_ epoch: Epoch, from position: LogPosition) {
        if epoch.pins > 0 { draining.append((epoch, position)) }
    }
}

extension Epoch {
    /// True when it has a record.
    var isUsed: Bool { since != 0 }

    /// Bytes of the log from its first record to its last.
    var span: UInt64 { isUsed ? lastPosition - start : 0 }

    /// True when its records span more than so many bytes of the log.
    func isFull(_ span: UInt64) -> Bool { self.span > span }

    /// A record at `position` belongs to it. True for the first one.
    func note(_ position: LogPosition) -> Bool {
        start = min(start, position)
        lastPosition = max(lastPosition, position)
        guard since == 0 else { return false }
        since = monotonicNanoseconds()
        return true
    }
}

extension DirtyData.File {
    /// What is at `offset`, looked for from the newest layer down, and how far: at most to `limit`.
    func part(at offset: UInt64, _ limit: inout UInt64) -> (part: FileChanges.Part, layer: Int) {
        for index in layers.indices.reversed() {
            let part = layers[index].changes.part(at: offset, &limit)
            if case .below = part { continue }
            return (part, index)
        }
        return (.below, 0)
    }

    /// Runs `body` with each piece of [start, end) and the layer it is from; neighbours of the same
    /// kind are told as one.
    func forEachPart(from start: UInt64, to end: UInt64, _ body: (DirtyPiece, Int) -> Void) {
        var offset = start
        var waiting: (piece: DirtyPiece, layer: Int)?
        while offset < end {
            var limit = end
            let (part, layer) = part(at: offset, &limit)
            let length = limit - offset
            let piece: DirtyPiece
            switch (part, waiting?.piece) {
            case (.extent(let extent), _):
                piece = .data(
                    position: extent.position, skip: Int(extent.skip) + Int(offset - extent.start),
                    length: Int(length))
                if let waiting { body(waiting.piece, waiting.layer) }
            case (.zeros, .zeros(let before)):
                piece = .zeros(length: before + length)
            case (.below, .gap(let before)):
                piece = .gap(length: before + length)
            case (.zeros, _):
                piece = .zeros(length: length)
                if let waiting { body(waiting.piece, waiting.layer) }
            case (.below, _):
                piece = .gap(length: length)
                if let waiting { body(waiting.piece, waiting.layer) }
            }
            waiting = (piece, layer)
            offset = limit
        }
        if let waiting { body(waiting.piece, waiting.layer) }
    }
}
