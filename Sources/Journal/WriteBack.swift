import Devices
import Glibc
import Policy
import Syscalls

/// A file whose changes go into the log.
package struct DirtyFile: Sendable {
    /// Its node number.
    package let node: UInt64
    /// What the datastore calls it, in a form that only the caller knows; at most 132 bytes.
    package let handle: [UInt8]
    /// Nothing of it is in the log yet.
    package var isNew = false
    /// How a new one looks at the datastore; nil when that is not known.
    package var state: FileState?

    package init(node: UInt64, handle: [UInt8]) {
        self.node = node
        self.handle = handle
    }
}

/// Write-back for the files of one datastore. A change goes into the log and is laid over what the
/// datastore has of the file, until the destager has brought it there.
///
/// The caller lets one change at a time at the same bytes of a file, so that their order in the log
/// and in memory is the same.
package final class WriteBack<Device: BlockDevice, Target: DestageTarget>: Sendable {
    package let journal: Journal<Device>
    package let dirty: DirtyData
    package let destager: Destager<Journal<Device>, Target>

    /// `target` is where it is destaged to.
    package init(_ journal: Journal<Device>, _ target: Target, _ settings: DestageSettings) {
        self.journal = journal
        dirty = DirtyData(isStrict: settings.isStrict)
        destager = Destager(journal, dirty, target, settings)
    }

    // MARK: - Changes

    /// The log can be written to.
    package var accepts: Bool { !journal.isPoisoned }

    /// Keeps bytes that a client has written. They survive this process when it returns, and a
    /// power cut with `isDurable`. Throws ENOSPC when the log has no room, EIO when it fails.
    package func write(
        _ file: DirtyFile, _ bytes: UnsafeRawBufferPointer, at offset: UInt64, isDurable: Bool
    ) throws(Errno) {
        let record = JournalRecord(
            .data, file: file.node, offset: offset, length: UInt64(bytes.count), time: .now)
        try keep(record, of: file, bytes, isDurable: isDurable)
    }

    /// Changes the size of a file.
    package func truncate(_ file: DirtyFile, to size: UInt64) throws(Errno) {
        try keep(JournalRecord(.truncate, file: file.node, offset: size, time: .now), of: file)
    }

    /// Makes bytes inside a file read as zeros.
    package func zero(_ file: DirtyFile, at offset: UInt64, length: UInt64) throws(Errno) {
        try keep(
            JournalRecord(
                .zero, file: file.node, offset: offset, length: length, time: .now), of: file)
    }

    /// A client has set the time of modification.
    package func setTime(_ file: DirtyFile, _ time: Timestamp) throws(Errno) {
        try keep(JournalRecord(.times, file: file.node, time: time), of: file)
    }

    /// The file is about to lose its last name; durable when this returns.
    package func recordRemoval(of file: DirtyFile) throws(Errno) {
        try keep(JournalRecord(.forget, file: file.node, time: .now), of: file, isDurable: true)
    }

    /// Nobody can read the file any more: what is there of it is dropped.
    package func forget(_ file: UInt64) { dirty.forget(file: file) }

    private func keep(
        _ record: JournalRecord, of file: DirtyFile,
        _ payload: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
        isDurable: Bool = false
    ) throws(Errno) {
        _ = dirty.begin()
        defer { dirty.end() }
        if file.isNew { try mark(file, file.state) }
        let position = try journal.append(
            record, handle: file.handle, payload: payload, isDurable: isDurable)
        dirty.insert(record, of: file.handle, at: position)
    }

    /// A file that is dirty is about to be changed at the datastore: how it looked says nothing.
    package func noteChange(of file: DirtyFile) throws(Errno) { try mark(file, nil) }

    /// Notes how a file looks, or that nobody can tell.
    private func mark(_ file: DirtyFile, _ state: FileState?) throws(Errno) {
        _ = try journal.append(
            state?.record(of: file.node) ?? JournalRecord(.destaging, file: file.node),
            handle: file.handle, payload: UnsafeRawBufferPointer(start: nil, count: 0),
            isDurable: false)
    }

    // MARK: - What clients see

    /// Something of the file is in the log alone.
    package func isDirty(_ file: UInt64) -> Bool { dirty.isDirty(file) }

    /// Size and time of modification of a file that is dirty; nil when it is not. `below` tells its
    /// size at the datastore.
    package func visibleState(of file: UInt64, below: () -> UInt64) -> FileState? {
        dirty.visibleState(of: file, below: below)
    }

    /// Bytes that are in the log alone.
    package var dirtyBytes: UInt64 { dirty.bytes }

    // MARK: - Room

    /// Writers need not be slowed, and a record of so many bytes has room.
    package func isRoomy(_ bytes: Int) -> Bool {
        hasRoom(bytes) && !destager.throttle.isSlowing(used: journal.used)
    }

    /// Slows a writer down as much as the log is filled, and waits until a record of so many bytes
    /// has room. Throws EIO when the log fails meanwhile.
    package func waitForRoom(_ bytes: Int) throws(Errno) {
        let now = monotonicNanoseconds()
        let delay = destager.throttle.delay(bytes: UInt64(bytes), used: journal.used, now: now)
        if delay > 0 { sleep(nanoseconds: delay) }
        while !hasRoom(bytes) {
            if journal.isPoisoned { throw .io }
            sleep(milliseconds: Limits.roomInterval)
        }
    }

    /// Room in the log, beside what the destager keeps for its own records, and in memory.
    private func hasRoom(_ bytes: Int) -> Bool {
        journal.hasRoom(bytes: bytes + Limits.destagerReserve)
            && dirty.extentCount < Limits.dirtyExtents
    }

    /// Waits until what is dirty now of a file, or of all of them, is at the datastore and durable
    /// there. Throws ETIMEDOUT when the monotonic time `deadline` passes first, and why it cannot
    /// be written otherwise.
    package func drain(_ file: UInt64?, until deadline: UInt64 = .max) throws(Errno) {
        try destager.flush(file, until: deadline)
    }

    /// Waits until a recovery would find nothing of a file that is not dirty: it would lay that
    /// over what is written past the log from now on. Throws ETIMEDOUT when the monotonic time
    /// `deadline` passes first.
    package func awaitRelease(of file: UInt64, until deadline: UInt64) throws(Errno) {
        while dirty.isUnreleased(file) {
            if monotonicNanoseconds() > deadline || journal.isPoisoned { throw .timedOut }
            dirty.tellNews()
            sleep(milliseconds: Limits.roomInterval)
        }
    }
}

// MARK: - Recovery

/// A file of which the log had data when it was opened.
package struct RecoveredFile: Sendable {
    package let node: UInt64
    package let handle: [UInt8]
    /// How it looked at the datastore; nil when that is not known, because it was being changed.
    package internal(set) var state: FileState?
}

extension WriteBack {
    /// Takes up what the log has, before anything else is done: it is dirty again. Answers the
    /// files and what of the log is damaged.
    package func recover() throws(Errno) -> (files: [RecoveredFile], damage: [LogDamage]) {
        var files: [UInt64: RecoveredFile] = [:]
        let report = try journal.recover { record, position, handle in
            var file =
                files[record.file] ?? RecoveredFile(node: record.file, handle: handle, state: nil)
            switch record.kind {
            case .state: file.state = FileState(record)
            case .destaging:
                file.state = nil
                dirty.recover(record)
            default:
                _ = dirty.begin()
                dirty.insert(record, of: handle, at: position)
                dirty.end()
            }
            files[record.file] = file
        }
        dirty.endRecovery()
        return (files.values.filter { dirty.isDirty($0.node) }, report.damage)
    }
}

extension DirtyData {
    /// Takes in a record that is in the log.
    func insert(_ record: JournalRecord, of handle: [UInt8], at position: LogPosition) {
        let file = record.file
        switch record.kind {
        case .data:
            insert(
                file: file, handle: handle, offset: record.offset, length: record.length,
                at: position, time: record.time)
        case .truncate:
            truncate(
                file: file, handle: handle, to: record.offset, before: .max, at: position,
                time: record.time)
        case .zero:
            zero(
                file: file, handle: handle, offset: record.offset, length: record.length,
                at: position, time: record.time)
        case .times: setTimes(file: file, handle: handle, modified: record.time, at: position)
        case .forget: expectRemoval(of: file)
        case .state, .destaging: break
        }
    }
}

extension Timestamp {
    /// The time of day.
    package static var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: UInt32(time.tv_nsec))
    }
}
