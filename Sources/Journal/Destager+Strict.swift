import Devices
import Policy
import Synchronization
import Syscalls

// One epoch in the strict order: the datastore is at any moment as clients saw it at one moment.
extension Destager {
    /// Does the changes of an epoch one by one, each durable before the next, and finishes it.
    /// Throws when the datastore cannot be asked: it goes on with the same change.
    func destageStrictly(_ epoch: Epoch) throws(Errno) {
        let now = clock()
        var files: [UInt64: FileChanges] = [:]
        for changes in dirty.changes(in: epoch) {
            if dirty.mustWait(changes.file, now: now) {
                dirty.park(changes, of: epoch, nil, now: now)
            } else {
                files[changes.file] = changes
            }
        }
        if course.withLock({ $0.strictlyDone }) == 0 {
            course.withLock { $0.began = now }
        }
        for (file, record) in inOrder(files) {
            if record.position < course.withLock({ $0.strictlyDone }) { continue }
            if dirty.isDone(record, of: file) { continue }
            guard let changes = files[file] else { continue }
            let isDone = try attempt(changes, epoch) { () throws(Errno) in
                try redo(record, changes, memory)
            }
            if !isDone { files[file] = nil }
            if control.withLock({ $0.isStopping }) { throw .timedOut }
            course.withLock { $0.strictlyDone = record.position + 1 }
        }
        for changes in files.values.sorted(by: { $0.file < $1.file }) {
            let isHome = try attempt(changes, epoch) { () throws(Errno) in try conclude(changes) }
            if isHome { dirty.recovered(changes.file) }
        }
        course.withLock { $0.strictlyDone = 0 }
        finish(epoch)
    }

    private func inOrder(_ files: [UInt64: FileChanges]) -> [(file: UInt64, record: KeptRecord)] {
        files.flatMap { entry in entry.value.records.map { (entry.key, $0) } }
            .sorted { $0.1.position < $1.1.position }
    }

    /// False when the file has left the order.
    private func attempt(
        _ changes: FileChanges, _ epoch: Epoch, _ body: () throws(Errno) -> Void
    ) throws(Errno) -> Bool {
        guard dirty.isCurrent(changes) else { return false }
        do throws(Errno) {
            try body()
            return true
        } catch {
            if error.saysLater { throw error }
            guard dirty.isCurrent(changes) else { return false }
            dirty.park(changes, of: epoch, error, now: clock())
            if error.saysGone { giveUp(changes.file, error) }
            return false
        }
    }

    private func redo(
        _ record: KeptRecord, _ changes: FileChanges, _ memory: DestageMemory
    ) throws(Errno) {
        let file = changes.file
        do throws(Errno) {
            _ = try log.append(
                .destaging(file, recordAt: record.position), handle: changes.handle,
                payload: UnsafeRawBufferPointer(start: nil, count: 0), isDurable: true)
        } catch {
            // The log is full or has failed: after a crash this record is done again.
            control.withLock { $0.unmarked += 1 }
            flushLog()
        }
        switch record.kind {
        case .data:
            var done = 0
            while done < Int(record.length) {
                let count = min(Int(record.length) - done, Limits.destageRun)
                let bytes = UnsafeMutableRawBufferPointer(
                    rebasing: memory.buffer.bytes[..<count])
                try log.read(record.position, skip: done, into: bytes)
                try target.write(
                    file, UnsafeRawBufferPointer(bytes), at: record.offset + UInt64(done),
                    isDurable: true)
                done += count
            }
        case .truncate:
            try target.truncate(file, to: record.offset)
            try target.sync(file)
        case .zero:
            try target.zero(file, at: record.offset, length: record.length)
            try target.sync(file)
        case .times, .forget, .state, .destaging: break
        }
    }
}
