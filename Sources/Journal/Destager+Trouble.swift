import Devices
import Policy
import Syscalls

// Files that the datastore does not take.
extension Destager {
    /// Tries again what is parked and due, or all of it when somebody waits for that. Throws when
    /// the datastore cannot be asked.
    func retryParked(_ now: UInt64) throws(Errno) {
        // An epoch that is under way goes on first.
        guard !round.isLoaded else { return }
        let (wanted, done) = control.withLock { ($0.retriesWanted, $0.retriesDone) }
        for changes in dirty.parked(due: wanted > done ? nil : now) { try retry(changes) }
        control.update { $0.retriesDone = max($0.retriesDone, wanted) }
    }

    private func retry(_ changes: FileChanges) throws(Errno) {
        announce([changes], of: nil)
        round.load([changes])
        round.resume()
        var isAway = false
        loop: while true {
            switch round.lead() {
            case .job(let job): perform(job, memory)
            case .over: break loop
            case .interrupted:
                isAway = true
                break loop
            }
        }
        let outcome = round.take().first?.outcome
        if isAway { throw .timedOut }
        switch outcome {
        case .home:
            dirty.unpark(changes.file)
            dirty.recovered(changes.file)
            release()
        case .failed(let error):
            dirty.fail(changes.file, error, now: clock())
            if error.saysGone { giveUp(changes.file, error) }
        case .dropped, nil: break
        }
    }

    // MARK: - Room in the log

    /// What is parked keeps its part of the log. When the log runs full it is carried forward, and
    /// given up when that does not help or takes too long.
    func relieve(_ now: UInt64) {
        guard !round.isLoaded else { return }
        let parked = dirty.parked(due: nil)
        guard !parked.isEmpty else { return }
        let troubles = dirty.troubles()
        for entry in troubles where now > entry.trouble.since + Limits.longestTrouble {
            if parked.contains(where: { $0.file == entry.file }) {
                giveUp(entry.file, entry.trouble.error)
            }
        }
        guard log.used > log.capacity / 2 else { return }
        let sizes = dirty.parked(due: nil).map { (changes: $0, bytes: $0.extents.dataBytes) }
        guard let largest = sizes.max(by: { $0.bytes < $1.bytes }) else { return }
        if sizes.reduce(0, { $0 + $1.bytes }) > log.capacity / 2 {
            giveUp(largest.changes.file, error(of: largest.changes.file, troubles))
            return
        }
        for (changes, _) in sizes where dirty.holdsLog(changes) {
            do throws(Errno) {
                try carry(changes.file)
                control.withLock { $0.carried += 1 }
            } catch {
                // There is no room to carry it, or the log has failed.
                let reason = self.error(of: changes.file, troubles)
                if error == .noSpace { giveUp(changes.file, reason) }
            }
        }
        release()
    }

    private func error(
        of file: UInt64, _ troubles: [(file: UInt64, handle: [UInt8], trouble: FileTrouble)]
    ) -> Errno {
        troubles.first { $0.file == file }?.trouble.error ?? .io
    }

    /// Appends what is visible of a parked file to the log again, so that the log behind can be
    /// freed. No step changes what a reader sees, nor what a recovery finds: changes wait
    /// meanwhile, a few pieces at a time.
    private func carry(_ file: UInt64) throws(Errno) {
        var next: UInt64? = 0
        while let offset = next {
            next = try dirty.exclusively { () throws(Errno) -> UInt64? in
                let (pieces, next) = dirty.visibleParked(
                    file, from: offset, most: Limits.carriedAtOnce)
                guard let seen = dirty.exactSize(of: file) else { return nil }
                for piece in pieces {
                    try carry(piece, of: file, seen.handle, seen.modified, memory)
                }
                guard next == nil else { return next }
                if let size = seen.size {
                    let record = JournalRecord(
                        .truncate, file: file, offset: size, time: seen.modified)
                    let position = try append(record, seen.handle)
                    dirty.truncate(
                        file: file, handle: seen.handle, to: size, before: .max, at: position,
                        time: seen.modified)
                } else {
                    try carryEnd(of: file, seen.handle, seen.modified, memory)
                }
                try log.flush()
                dirty.unpark(file)
                return nil
            }
        }
    }

    /// Zeros make no file longer: where they lie over the end of the data that did, one of them is
    /// appended as data.
    private func carryEnd(
        of file: UInt64, _ handle: [UInt8], _ time: Timestamp, _ memory: DestageMemory
    ) throws(Errno) {
        guard let end = dirty.visibleState(of: file, below: { 0 })?.size, end > 0 else { return }
        var pieces: [DirtyPiece] = []
        guard let pin = dirty.pieces(file: file, offset: end - 1, length: 1, into: &pieces)
        else { return }
        pin.release()
        guard case .zeros? = pieces.first else { return }
        let zero = UnsafeMutableRawBufferPointer(rebasing: memory.buffer.bytes[..<1])
        zero[0] = 0
        let record = JournalRecord(.data, file: file, offset: end - 1, length: 1, time: time)
        let position = try log.append(
            record, handle: handle, payload: UnsafeRawBufferPointer(zero), isDurable: false)
        dirty.insert(
            file: file, handle: handle, offset: end - 1, length: 1, at: position, time: time)
    }

    private func carry(
        _ carried: DirtyData.CarriedPiece, of file: UInt64, _ handle: [UInt8], _ time: Timestamp,
        _ memory: DestageMemory
    ) throws(Errno) {
        switch carried.piece {
        case .gap: return
        case .zeros(let length):
            let record = JournalRecord(
                .zero, file: file, offset: carried.offset, length: length, time: time)
            let position = try append(record, handle)
            dirty.zero(
                file: file, handle: handle, offset: carried.offset, length: length, at: position,
                time: time)
        case .data(let source, let skip, let length):
            var done = 0
            while done < length {
                let count = min(length - done, Limits.destageRun)
                let bytes = UnsafeMutableRawBufferPointer(
                    rebasing: memory.buffer.bytes[..<count])
                try log.read(source, skip: skip + done, into: bytes)
                let offset = carried.offset + UInt64(done)
                let record = JournalRecord(
                    .data, file: file, offset: offset, length: UInt64(count), time: time)
                let position = try log.append(
                    record, handle: handle, payload: UnsafeRawBufferPointer(bytes),
                    isDurable: false)
                dirty.insert(
                    file: file, handle: handle, offset: offset, length: UInt64(count),
                    at: position, time: time)
                done += count
            }
        }
    }

    // MARK: - Giving up

    /// Keeps what is closed of a file for the administrator and drops it. A file whose last name
    /// was to go, and that is gone, goes without a word.
    func giveUp(_ file: UInt64, _ error: Errno) {
        if error.saysGone, error != .changedByOthers, dirty.isRemovalExpected(of: file) {
            dirty.forget(file: file)
            return
        }
        guard let (pieces, size, modified) = dirty.closedPieces(of: file),
            let handle = dirty.exactSize(of: file)?.handle
        else { return }
        do throws(Errno) {
            try target.beginSettingAside(file, handle: handle, because: error)
            for piece in pieces { try setAside(piece, of: file, memory) }
            try target.endSettingAside(file, size: size, modified: modified)
            dirty.dropClosed(file)
        } catch {
            // There is no room for it there either: it stays where it is and is tried again.
            dirty.fail(file, error, now: clock())
        }
    }

    private func setAside(
        _ kept: DirtyData.CarriedPiece, of file: UInt64, _ memory: DestageMemory
    ) throws(Errno) {
        switch kept.piece {
        case .gap: return
        case .zeros(let length):
            try target.setAsideZeros(file, at: kept.offset, length: length)
        case .data(let source, let skip, let length):
            var done = 0
            while done < length {
                let count = min(length - done, Limits.destageRun)
                let bytes = UnsafeMutableRawBufferPointer(
                    rebasing: memory.buffer.bytes[..<count])
                let offset = kept.offset + UInt64(done)
                done += count
                do throws(Errno) {
                    try log.read(source, skip: skip + done - count, into: bytes)
                } catch {
                    try target.reportUnreadable(file, at: offset, length: UInt64(count))
                    continue
                }
                try target.setAside(file, UnsafeRawBufferPointer(bytes), at: offset)
            }
        }
    }
}
