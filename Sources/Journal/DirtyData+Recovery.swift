import Syscalls

extension JournalRecord {
    /// An epoch that ends at `end` is about to be brought home, and this file of it: together, in
    /// any order.
    static func destaging(_ file: UInt64, epochTo end: LogPosition) -> JournalRecord {
        JournalRecord(.destaging, file: file, offset: end)
    }

    /// The record at `position` is about to be done, in the strict order: those of the file before
    /// it are at the datastore.
    static func destaging(_ file: UInt64, recordAt position: LogPosition) -> JournalRecord {
        JournalRecord(.destaging, file: file, offset: position, length: 1)
    }
}

// What a log of an earlier life says of how far it got.
extension DirtyData {
    /// A record of the kind `destaging` was found in the log.
    package func recover(_ record: JournalRecord) {
        state.withLock { state in
            if record.length == 0 {
                state.begunBelow = max(state.begunBelow, record.offset)
            } else if let below = state.files[record.file]?.doneBelow {
                state.files[record.file]?.doneBelow = max(below, record.offset)
            }
        }
    }

    /// All records have been found. The epoch that an earlier life was bringing home goes home as a
    /// whole: part of it is there, so that no moment before its end can be shown any more.
    package func endRecovery() {
        exclusively {
            state.update { state in
                while state.closed.count > 1, state.closed[1].start < state.begunBelow {
                    state.join()
                }
                if let only = state.closed.first, state.closed.count == 1,
                    state.open.start < state.begunBelow, only.end <= state.begunBelow
                {
                    state.close()
                    state.join()
                }
            }
        }
    }

    /// True for a record that an earlier life has done, in the strict order.
    func isDone(_ record: KeptRecord, of file: UInt64) -> Bool {
        state.withLock { record.position < ($0.files[file]?.doneBelow ?? 0) }
    }
}

extension DirtyData.State {
    /// Lays the second closed epoch over the first.
    fileprivate mutating func join() {
        let (first, second) = (closed[0], closed[1])
        for (file, later) in second.files {
            subtract(later)
            guard let index = files[file]?.layers.firstIndex(where: { $0.changes === later })
            else { continue }
            if let changes = first.files[file] {
                subtract(changes)
                changes.absorb(later)
                extents += changes.extents.count
                bytes += changes.extents.dataBytes
                files[file]?.layers.remove(at: index)
            } else {
                extents += later.extents.count
                bytes += later.extents.dataBytes
                first.files[file] = later
                files[file]?.layers[index] = DirtyData.File.Layer(epoch: first, changes: later)
            }
        }
        first.end = second.end
        first.lastPosition = max(first.lastPosition, second.lastPosition)
        first.writtenBytes += second.writtenBytes
        closed.remove(at: 1)
    }
}
