import Devices
import Glibc
import Journal
import Passthrough
import Policy
import Synchronization
import Syscalls

/// The log of a mount and what belongs to it.
struct OpenLog {
    let writeBack: DatastoreWriteBack
    let target: DatastoreTarget
    let device: FileDevice
}

/// What came of opening the log of a mount.
struct LogOpening {
    /// Nil when the mount has none, or cannot use it.
    var log: OpenLog?
    /// Why it cannot be used; empty when it can, or there is none.
    var problem = ""
    /// What was given up by `discard_log`; empty when nothing was.
    var loss = ""
}

// The log of a mount: opened before anything is served, because what it has lies over the files.
extension Datastore {
    /// Opens the log of the options and reads what is in it. One that cannot be used, and has
    /// nothing that the datastore lacks, is done without: writes then wait for the datastore.
    ///
    /// Throws when the mount had a log that may have data and is not there: reads would be answered
    /// with what was before.
    static func openLog(
        _ options: MountOptions, _ backing: Backing, _ identity: IdentityStore, isFirst: Bool
    ) throws(Errno) -> LogOpening {
        var opening = LogOpening()
        var opened: (device: FileDevice, journal: Journal<FileDevice>)?
        if let option = options.log {
            do throws(Errno) {
                let device = try openDevice(option.path)
                let journal = try openJournal(device, options, backing)
                if RememberedLog(folder: options.state).isDiscarded(journal.header.uuid) {
                    opening.problem =
                        "what it holds was given up; 'forebay format --log --force \(option.path)' "
                        + "makes it usable again"
                } else {
                    opened = (device, journal)
                }
            } catch {
                opening.problem = "it cannot be opened: \(error)"
            }
        }
        opening.loss = try judge(opened?.journal.header.uuid, options, isFirst: isFirst)
        guard let (device, journal) = opened, let option = options.log else { return opening }
        let target = DatastoreTarget(state: options.state)
        var settings = DestageSettings()
        settings.isStrict = options.destageOrder == .strict
        settings.delay = UInt64(options.destageDelay * 1e9)
        settings.dirtyMax = options.dirtyMax
        let writeBack = DatastoreWriteBack(journal, target, settings)
        let (files, damage) = try writeBack.recover()
        for spot in damage {
            Events.raise(
                .log, .problem,
                "\(option.path) is damaged (\(spot.what)): writes that it had acknowledged may be "
                    + "lost; 'forebay check --log' tells more")
        }
        for file in files { meet(file, target, identity) }
        try RememberedLog(folder: options.state).set(
            uuid: journal.header.uuid, path: option.path, mayBeDirty: true)
        if !files.isEmpty {
            SystemLog.notice(
                "\(option.path) has \(writeBack.dirtyBytes) bytes of \(files.count) files "
                    + "that the datastore does not have yet")
        }
        opening.log = OpenLog(writeBack: writeBack, target: target, device: device)
        return opening
    }

    /// Refuses to serve without the log that the last writes are in, unless the administrator gave
    /// them up or only wants to read. Answers what was given up.
    private static func judge(
        _ found: [UInt8]?, _ options: MountOptions, isFirst: Bool
    ) throws(Errno) -> String {
        let remembered = RememberedLog(folder: options.state)
        switch try remembered.verdict(found: found, options: options, isFirst: isFirst) {
        case .fine: return ""
        case .stale(let mark):
            SystemLog.warning("\(mark.loss) missing")
            return ""
        case .discarded(let mark):
            try remembered.discard(mark.uuid)
            return LogEvents.discarded(mark)
        case .missing(let mark):
            SystemLog.error("\(mark.log) is missing: reads would be answered with what was before")
            throw .noData
        }
    }

    /// A file of which the log has data must be found whatever became of the identity table.
    private static func meet(
        _ file: RecoveredFile, _ target: DatastoreTarget, _ identity: IdentityStore
    ) {
        if let state = file.state { target.expect(file.node, state) }
        guard identity.find(NodeID(file.node)) == nil,
            let handle = try? FileHandle(encoded: file.handle)
        else { return }
        identity.remember(
            NodeID(file.node), Identity(handle: handle, parent: 0, type: UInt32(S_IFREG)))
    }

    private static func openJournal(
        _ device: FileDevice, _ options: MountOptions, _ backing: Backing
    ) throws(Errno) -> Journal<FileDevice> {
        let path = options.log?.path ?? ""
        let journal: Journal<FileDevice>
        do throws(JournalProblem) {
            journal = try Journal(device)
        } catch {
            SystemLog.error("\(path): \(error)")
            throw .invalid
        }
        let owner = deviceOwner(name: options.name, root: backing.rootHandle)
        if journal.header.owner.isEmpty { try journal.claim(owner: owner) }
        guard journal.header.owner == owner || journal.header.owner.isEmpty else {
            SystemLog.error("\(path) is the log of another mount: \(journal.header.owner)")
            throw .busy
        }
        return journal
    }

    /// The server before this one may still be on its way out.
    private static func openDevice(_ path: String) throws(Errno) -> FileDevice {
        let deadline = monotonicNanoseconds() + .milliseconds(Limits.logOpening)
        while true {
            do throws(Errno) {
                return try FileDevice(path: path)
            } catch {
                if error != .busy || monotonicNanoseconds() >= deadline {
                    SystemLog.error("\(path), the log: \(error)")
                    throw error
                }
                sleep(milliseconds: 5)
            }
        }
    }

    /// Looks after the log once a second: says when it fails, fills or lags, and learns whether the
    /// datastore has room for what is in it.
    func watchLog() {
        guard let writeBack else { return }
        if let status = try? fileSystem() {
            let free = UInt64(status.f_bavail) * UInt64(status.f_frsize)
            // Within a second the log cannot take in more than all of it.
            let margin = min(Limits.spaceMargin, writeBack.journal.capacity)
            isSpaceShort.store(free < writeBack.dirtyBytes + margin, ordering: .relaxed)
        }
        countMerged(writeBack)
        sleep(milliseconds: 1000)
    }

    /// Writes that the log took and that never went to the datastore by themselves merged there.
    /// Which they are is known only when nothing is left.
    private func countMerged(_ writeBack: DatastoreWriteBack) {
        guard let logTarget, writeBack.dirty.isEmpty else { return }
        let taken = logged.writes.exchange(0, ordering: .relaxed)
        let takenBytes = logged.bytes.exchange(0, ordering: .relaxed)
        let written = logTarget.writes.load(ordering: .relaxed)
        let writtenBytes = logTarget.bytes.load(ordering: .relaxed)
        let before = logged.writtenBefore.exchange(written, ordering: .relaxed)
        let bytesBefore = logged.bytesBefore.exchange(writtenBytes, ordering: .relaxed)
        counters.add(.savedWrites, taken - min(taken, written - before))
        counters.add(
            .savedWriteBytes, takenBytes - min(takenBytes, writtenBytes - bytesBefore))
    }

    /// Stops the destager. What is in the log stays there. `isLast`: nobody goes on, so that a log
    /// without data is needed no more.
    func closeLog(isLast: Bool) {
        guard let writeBack else { return }
        writeBack.destager.stop()
        defer { logDevice?.unlock() }
        guard isLast, writeBack.dirty.isEmpty, !writeBack.journal.isPoisoned else { return }
        do throws(Errno) {
            // Or a later mount with this log, after others without, would bring old data back.
            try writeBack.journal.release(upTo: writeBack.journal.head)
            _ = try RememberedLog(folder: options.state).forget()
        } catch {
            SystemLog.error("the log cannot be left empty: \(error)")
        }
    }
}

/// Writes that went into the log since nothing was in it, and what had been destaged then.
final class LoggedWrites: Sendable {
    let writes = Atomic<UInt64>(0)
    let bytes = Atomic<UInt64>(0)
    let writtenBefore = Atomic<UInt64>(0)
    let bytesBefore = Atomic<UInt64>(0)
}
