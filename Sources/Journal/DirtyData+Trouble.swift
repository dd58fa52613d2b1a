import Policy
import Syscalls

// Files that the datastore does not take: parked below all that is newer, tried again, carried
// forward in the log, given up.
extension DirtyData {
    /// The datastore did not take what an epoch has of a file: it leaves the order of epochs.
    /// `error` is nil when it was not even tried.
    func park(_ changes: FileChanges, of epoch: Epoch, _ error: Errno?, now: UInt64) {
        state.update { state in
            let file = changes.file
            guard epoch.files[file] === changes, var known = state.files[file],
                let index = known.layers.firstIndex(where: { $0.changes === changes })
            else { return }
            epoch.files[file] = nil
            if known.isParked {
                state.subtract(changes)
                let parked = known.layers[0].changes
                state.subtract(parked)
                parked.absorb(changes)
                parked.records = []
                state.extents += parked.extents.count
                state.bytes += parked.extents.dataBytes
                known.layers.remove(at: index)
            } else {
                known.layers[index] = File.Layer(epoch: Epoch(id: 0), changes: changes)
                known.isParked = true
            }
            if let error { known.fail(error, now) }
            state.files[file] = known
        }
    }

    /// What is parked was tried again, in vain.
    func fail(_ file: UInt64, _ error: Errno, now: UInt64) {
        state.update { $0.files[file]?.fail(error, now) }
    }

    /// The datastore has taken what it did not take before.
    func recovered(_ file: UInt64) {
        state.update { $0.files[file]?.trouble = nil }
    }

    /// True when the file is not to be tried before its time.
    func mustWait(_ file: UInt64, now: UInt64) -> Bool {
        state.withLock { state in
            guard let known = state.files[file] else { return false }
            return known.isParked || (known.trouble?.retryAt ?? 0) > now
        }
    }

    /// What is parked and due, or all that is parked.
    func parked(due now: UInt64?) -> [FileChanges] {
        if isEmpty { return [] }
        return state.withLock { state in
            state.files.values.filter { known in
                guard known.isParked else { return false }
                guard let now else { return true }
                return (known.trouble?.retryAt ?? 0) <= now
            }
            .map { $0.layers[0].changes }.sorted { $0.file < $1.file }
        }
    }

    /// When the next parked file is due; `UInt64.max` when none is parked.
    func nextRetry() -> UInt64 {
        if isEmpty { return .max }
        return state.withLock { state in
            state.files.values.reduce(UInt64.max) {
                $1.isParked ? min($0, $1.trouble?.retryAt ?? 0) : $0
            }
        }
    }

    /// What was parked of a file is at the datastore, or somewhere else: it goes.
    func unpark(_ file: UInt64) {
        state.update { state in
            guard let known = state.files[file], known.isParked else { return }
            let layer = known.layers[0]
            state.files[file]?.isParked = false
            state.subtract(layer.changes)
            state.drain(layer.epoch, from: layer.changes.firstPosition)
            removeLayer(layer.changes, of: file, &state)
        }
    }

    /// Why files are not taken, to show and to report.
    package func troubles() -> [(file: UInt64, handle: [UInt8], trouble: FileTrouble)] {
        state.withLock { state in
            state.files.compactMap { file, known in
                known.trouble.map { (file, known.handle, $0) }
            }
            .sorted { $0.file < $1.file }
        }
    }

    // MARK: - Carrying forward

    /// Something that is visible of what is parked.
    struct CarriedPiece {
        let offset: UInt64
        let piece: DirtyPiece
    }

    /// The next pieces from `offset` on that a reader would get from what is parked, each of at
    /// most a record's length; with where to go on, nil at the end. To be called with changes
    /// excluded.
    func visibleParked(
        _ file: UInt64, from offset: UInt64, most: Int
    ) -> (pieces: [CarriedPiece], next: UInt64?) {
        state.withLock { state in
            guard let known = state.files[file], known.isParked else { return ([], nil) }
            let end = known.coveredEnd
            var (offset, pieces) = (offset, [CarriedPiece]())
            while pieces.count < most {
                guard offset < end else { return (pieces, nil) }
                var limit = end
                let (part, layer) = known.part(at: offset, &limit)
                let length = limit - offset
                switch part {
                case .extent(let extent) where layer == 0:
                    let skip = Int(extent.skip) + Int(offset - extent.start)
                    let piece = DirtyPiece.data(
                        position: extent.position, skip: skip, length: Int(length))
                    pieces.append(CarriedPiece(offset: offset, piece: piece))
                case .zeros where layer == 0:
                    pieces.append(CarriedPiece(offset: offset, piece: .zeros(length: length)))
                default: break
                }
                offset = limit
            }
            return (pieces, offset)
        }
    }

    /// The size that clients see, if the changes say so whatever is below; with the time.
    func exactSize(of file: UInt64) -> (size: UInt64?, modified: Timestamp, handle: [UInt8])? {
        state.withLock { state in
            guard let known = state.files[file], let last = known.layers.last else { return nil }
            return (known.exactSize, last.changes.modified, known.handle)
        }
    }

    // MARK: - Giving up

    /// All pieces that the closed epochs and what is parked have of a file, as a reader would see
    /// them without the open epoch. Only the destager closes layers or takes them away.
    func closedPieces(
        of file: UInt64
    ) -> (pieces: [CarriedPiece], size: UInt64?, modified: Timestamp)? {
        state.withLock { state in
            guard var known = state.files[file] else { return nil }
            known.layers.removeAll { $0.epoch === state.open }
            guard let last = known.layers.last else { return nil }
            var (offset, pieces) = (UInt64(0), [CarriedPiece]())
            known.forEachPart(from: 0, to: known.coveredEnd) { piece, _ in
                if case .gap = piece {
                } else {
                    pieces.append(CarriedPiece(offset: offset, piece: piece))
                }
                offset += piece.length
            }
            return (pieces, known.exactSize, last.changes.modified)
        }
    }

    /// Drops what the closed epochs and what is parked have of a file.
    func dropClosed(_ file: UInt64) {
        state.update { state in
            guard let known = state.files[file] else { return }
            if known.isParked {
                let parked = known.layers[0]
                state.drain(parked.epoch, from: parked.changes.firstPosition)
                state.files[file]?.isParked = false
            }
            state.files[file]?.trouble = nil
            for layer in known.layers where layer.epoch !== state.open {
                layer.epoch.files[file] = nil
                state.subtract(layer.changes)
                removeLayer(layer.changes, of: file, &state)
            }
        }
    }

    /// True when the file's last name was to go.
    func isRemovalExpected(of file: UInt64) -> Bool {
        state.withLock { $0.files[file]?.isRemovalExpected ?? false }
    }

    /// Bytes of a file that are parked.
    func parkedBytes(of file: UInt64) -> UInt64 {
        state.withLock { state in
            guard let known = state.files[file], known.isParked else { return 0 }
            return known.layers[0].changes.extents.dataBytes
        }
    }

    /// True when what is parked of the file keeps records in the log that all else is done with.
    func holdsLog(_ changes: FileChanges) -> Bool {
        state.withLock { changes.firstPosition < $0.finishedTo }
    }
}

extension DirtyData.File {
    /// Another attempt failed.
    mutating func fail(_ error: Errno, _ now: UInt64) {
        var trouble = trouble ?? FileTrouble(error: error, since: now, attempts: 0, retryAt: 0)
        let pause = Limits.troublePause << UInt64(min(trouble.attempts, 8))
        trouble.error = error
        trouble.attempts += 1
        trouble.retryAt = now + min(pause, Limits.longestTroublePause)
        self.trouble = trouble
    }

    /// The size that clients see, when the changes say it whatever is below.
    var exactSize: UInt64? {
        guard layers.contains(where: { $0.changes.lastTruncation != nil }) else { return nil }
        return layers.reduce(0) { $1.changes.size(of: $0) }
    }

    /// Behind it there is nothing dirty to see.
    var coveredEnd: UInt64 {
        exactSize ?? layers.reduce(0) { max($0, $1.changes.extents.end) }
    }
}
