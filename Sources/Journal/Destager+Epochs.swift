import Devices
import Policy
import Synchronization
import Syscalls

/// Memory of a thread that destages: one run, from the log to the datastore.
final class DestageMemory: Sendable {
    let buffer = BlockBuffer(blocks: Limits.destageRun / 4096)
}

// One epoch, coalesced.
extension Destager {
    /// Brings an epoch home and finishes it. Throws when the datastore cannot be asked: the same
    /// epoch is gone on with at the next turn.
    func destage(_ epoch: Epoch) throws(Errno) {
        let now = clock()
        if !round.isLoaded {
            var files: [FileChanges] = []
            for changes in dirty.changes(in: epoch) {
                if dirty.mustWait(changes.file, now: now) {
                    dirty.park(changes, of: epoch, nil, now: now)
                } else {
                    files.append(changes)
                }
            }
            announce(files, of: epoch)
            round.load(files)
            course.withLock { $0.began = now }
        }
        try lead()
        settle(round.take(), of: epoch)
        finish(epoch)
    }

    /// Says in the log, durably, that the files are about to be changed at the datastore. A log
    /// that takes nothing any more cannot say so; what is in it goes home nevertheless.
    func announce(_ files: [FileChanges], of epoch: Epoch?) {
        guard !files.isEmpty else { return }
        do throws(Errno) {
            for changes in files {
                try append(.destaging(changes.file, epochTo: epoch?.end ?? 0), changes.handle)
            }
        } catch {
            // It is full or has failed.
        }
        flushLog()
    }

    /// What goes to the datastore must not be lost in the log: a log that ends before it would lay
    /// older changes over newer ones.
    func flushLog() {
        do throws(Errno) {
            try log.flush()
        } catch {
            // The log is poisoned, and what is in it goes home all the same.
        }
    }

    @discardableResult
    func append(_ record: JournalRecord, _ handle: [UInt8]) throws(Errno) -> LogPosition {
        try log.append(
            record, handle: handle, payload: UnsafeRawBufferPointer(start: nil, count: 0),
            isDurable: false)
    }

    /// Works on the round until it is over.
    private func lead() throws(Errno) {
        round.resume()
        while true {
            round.setPressure(pressure)
            switch round.lead() {
            case .job(let job): perform(job, memory)
            case .over: return
            case .interrupted: throw .timedOut
            }
        }
    }

    private func settle(
        _ files: [(changes: FileChanges, outcome: DestageRound.Outcome)], of epoch: Epoch
    ) {
        for (changes, outcome) in files {
            switch outcome {
            case .home: dirty.recovered(changes.file)
            case .dropped: break
            case .failed(let error):
                dirty.park(changes, of: epoch, error, now: clock())
                if error.saysGone { giveUp(changes.file, error) }
            }
        }
    }

    func finish(_ epoch: Epoch) {
        let began = course.withLock { $0.began }
        throttle.freed(bytes: epoch.span, nanoseconds: clock() - min(began, clock()))
        dirty.finish(epoch)
        release()
        control.update { $0.finished = epoch.id }
    }

    // MARK: - Jobs

    /// Does a job and reports its end.
    func perform(_ job: DestageRound.Job, _ memory: DestageMemory) {
        let began = clock()
        var bytes: UInt64 = 0
        var ending = DestageRound.Ending.done
        if !dirty.isCurrent(job.changes) {
            ending = .outcome(.dropped)
        } else {
            do throws(Errno) {
                bytes = try attempt(job, memory)
            } catch {
                if error.saysLater {
                    ending = .later
                } else {
                    // The file may have gone because it was removed, meanwhile.
                    let isCurrent = dirty.isCurrent(job.changes)
                    ending = .outcome(isCurrent ? .failed(error) : .dropped)
                }
            }
        }
        round.ended(job, ending, bytes: bytes, nanoseconds: clock() - began)
    }

    private func attempt(
        _ job: DestageRound.Job, _ memory: DestageMemory
    ) throws(Errno) -> UInt64 {
        switch job {
        case .cut(_, let changes):
            if let size = changes.truncatedTo { try target.truncate(changes.file, to: size) }
            return 0
        case .write(_, let changes, let extents):
            return try write(changes.file, extents, memory)
        case .finish(_, let changes):
            try complete(changes)
            return 0
        }
    }

    /// Writes a batch durably: neighbours in one write of at most a megabyte. Answers how many
    /// bytes those were.
    private func write(
        _ file: UInt64, _ extents: [Extent], _ memory: DestageMemory
    ) throws(Errno) -> UInt64 {
        var bytes: UInt64 = 0
        var run = DestageRun(file: file)
        for extent in extents {
            if extent.isZeros {
                try write(&run, memory)
                try target.zero(file, at: extent.start, length: extent.length)
                continue
            }
            var rest = extent
            while rest.length > 0 {
                if !run.touches(rest) || run.count == Limits.destageRun { try write(&run, memory) }
                if run.count == 0 { run.start = rest.start }
                let count = min(Int(rest.length), Limits.destageRun - run.count)
                let place = UnsafeMutableRawBufferPointer(
                    rebasing: memory.buffer.bytes[run.count..<run.count + count])
                try log.read(rest.position, skip: Int(rest.skip), into: place)
                run.count += count
                bytes += UInt64(count)
                if UInt64(count) == rest.length { break }
                rest = rest.from(rest.start + UInt64(count))
            }
        }
        try write(&run, memory)
        try target.sync(file)
        return bytes
    }

    private func write(_ run: inout DestageRun, _ memory: DestageMemory) throws(Errno) {
        guard run.count > 0 else { return }
        let bytes = UnsafeRawBufferPointer(rebasing: memory.buffer.bytes[..<run.count])
        try target.write(run.file, bytes, at: run.start, isDurable: false)
        run.count = 0
    }

    /// All is written: the size, durability, the time, and how the file looks now.
    private func complete(_ changes: FileChanges) throws(Errno) {
        let file = changes.file
        if let size = changes.finalSize {
            let isCut = changes.truncatedTo == size && changes.extents.endOfData <= size
            if !isCut { try target.truncate(file, to: size) }
        } else if changes.extents.endOfData < changes.writtenTo {
            // The end was written and made zeros again: a byte of them makes the size.
            try withUnsafeBytes(of: UInt8(0)) { zero throws(Errno) in
                try target.write(file, zero, at: changes.writtenTo - 1, isDurable: false)
            }
        }
        try conclude(changes)
    }

    func conclude(_ changes: FileChanges) throws(Errno) {
        try target.sync(changes.file)
        let state = try target.finish(changes.file, modified: changes.modified)
        do throws(Errno) {
            try append(state.record(of: changes.file), changes.handle)
        } catch {
            // Without it the next mount cannot tell whether others changed the file.
        }
    }
}

/// Neighbours that are written at once.
private struct DestageRun {
    let file: UInt64
    var start: UInt64 = 0
    var count = 0

    init(file: UInt64) { self.file = file }

    func touches(_ extent: Extent) -> Bool { count > 0 && start + UInt64(count) == extent.start }
}
