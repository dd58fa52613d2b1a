import Devices
import Glibc
import Synchronization
import Syscalls
import TestSupport

@testable import Journal

/// Files that are changed through a journal, on a simulated log device, over a simulated datastore;
/// and what must be there of them. One thread; everything follows from the seed.
final class DestageWorld {
    typealias Contents = [UInt64: [UInt8]]

    let device: SimulatedLogDevice
    let datastore: SimulatedDatastore
    let isStrict: Bool
    private(set) var journal: Journal<SimulatedLogDevice>
    private(set) var dirty: DirtyData
    private(set) var destager: Destager<Journal<SimulatedLogDevice>, SimulatedDatastore>
    /// The files after each change, from the beginning on.
    private(set) var history: [Contents]
    /// Changes that survive a power cut, at least.
    private var durable = 0
    /// What the change that is under way makes of the files.
    private var attempt: Contents?
    /// Files that left the order of epochs at some time, and those that were given up.
    private(set) var troubled: Set<UInt64> = []
    /// Where each closed epoch ends in the history, as far as it is known.
    private var ends: [EpochID: Int] = [:]
    /// The write that a crash interrupted is at the datastore in part, until it is done again.
    private var isTorn = false
    /// The moment reached at a crash of which a full log could not tell: what led to it is redone.
    private var reached: Int?
    /// The last epoch that a recovery has closed.
    private var recovered: EpochID = 0
    private(set) var wrong: [String] = []
    private let now = Clock()
    private var generator: SplitMix64
    private var nextFile: UInt64 = 10
    private(set) var counts: [String: Int] = [:]
    private var carriedBefore = 0
    /// The moment that the datastore was last found at: it is looked for from there on.
    private var lastPast = 0

    final class Clock: Sendable {
        let time = Atomic<UInt64>(1_000_000_000)
    }

    init(seed: UInt64, isStrict: Bool, ignoresSync: Bool = false) throws {
        generator = SplitMix64(seed: seed)
        self.isStrict = isStrict
        let device = SimulatedLogDevice(
            size: 128 << 10 + 8 * 32 << 10, sector: 512, seed: seed ^ 55)
        self.device = device
        try LogFormat.format(device, segmentSize: 32 << 10)
        device.withState { $0.durable = $0.current }
        datastore = SimulatedDatastore(
            seed: seed ^ 66, isDead: { device.withState { $0.isCrashed } },
            die: { device.stop(device.withState { $0.crash }) })
        datastore.withState { $0.ignoresSync = ignoresSync }
        var contents = Contents()
        for file in UInt64(1)...3 {
            contents[file] = generator.bytes(Int.random(in: 0..<3000, using: &generator))
            datastore.create(file, contents[file]!)
        }
        history = [contents]
        journal = try Journal(device)
        _ = try journal.recover { _, _, _ in }
        dirty = DirtyData(isStrict: isStrict)
        destager = Self.destager(journal, dirty, datastore, now)
        watch()
    }

    private static func destager(
        _ journal: Journal<SimulatedLogDevice>, _ dirty: DirtyData,
        _ datastore: SimulatedDatastore, _ now: Clock
    ) -> Destager<Journal<SimulatedLogDevice>, SimulatedDatastore> {
        var settings = DestageSettings()
        // Epochs are closed by chance.
        settings.delay = .seconds(1 << 30)
        return Destager(journal, dirty, datastore, settings) {
            now.time.load(ordering: .relaxed)
        }
    }

    func random(_ range: Range<Int>) -> Int { Int.random(in: range, using: &generator) }

    private func count(_ what: String) { counts[what, default: 0] += 1 }
    private func report(_ text: String) { wrong.append(text) }

    var isCrashed: Bool { device.withState { $0.isCrashed } }

    var current: Contents { history[history.count - 1] }

    // MARK: - A life

    /// Does things until the device or the datastore crashes, at most so many.
    func live(steps: Int) {
        for _ in 0..<steps where wrong.isEmpty {
            step()
            if isCrashed { return }
        }
    }

    private func step() {
        switch random(0..<40) {
        case 0..<5: dirty.closeEpoch(); noteEnd()
        case 5..<14: turn()
        case 14, 15: flush()
        case 16: replaceFile()
        case 17: annoy()
        case 18..<21: look()
        case 21: now.time.add(.seconds(5), ordering: .relaxed)
        default: change()
        }
    }

    /// The open epoch was closed, if it has another number now.
    private func noteEnd() {
        let last = dirty.state.withLock { $0.open.id } - 1
        if last > recovered, ends[last] == nil { ends[last] = history.count - 1 }
    }

    private func flush() {
        do {
            try journal.flush()
            durable = history.count - 1
        } catch {
            if !isCrashed { report("flush: \(error)") }
        }
    }

    private func change() {
        guard let file = current.keys.sorted().randomElement(using: &generator) else { return }
        let offset = random(0..<4000)
        let kind: JournalRecord.Kind
        var bytes = [UInt8]()
        let change: SimulatedDatastore.Change
        var length = 0
        switch random(0..<10) {
        case 0:
            kind = .truncate
            change = .resize(offset)
        case 1, 2:
            kind = .zero
            length = random(1..<1500)
            change = .zero(offset..<offset + length)
        default:
            kind = .data
            bytes = generator.bytes(random(1..<(random(0..<4) == 0 ? 6000 : 600)))
            length = bytes.count
            change = .write(offset, bytes)
        }
        var changed = SimulatedDatastore.File(bytes: current[file]!)
        changed.apply(change)
        attempt = current
        attempt?[file] = changed.bytes
        let record = JournalRecord(
            kind, file: file, offset: UInt64(offset), length: UInt64(length),
            time: Timestamp(seconds: Int64(history.count)))
        append(record, bytes)
    }

    private func append(_ record: JournalRecord, _ bytes: [UInt8]) {
        let isDurable = random(0..<8) == 0
        for _ in 0..<100 {
            let error: Errno?
            do {
                _ = dirty.begin()
                noteEnd()
                defer { dirty.end() }
                let position = try bytes.withUnsafeBytes { payload in
                    try journal.append(
                        record, handle: [UInt8(truncatingIfNeeded: record.file)],
                        payload: payload, isDurable: isDurable)
                }
                insert(record, position, [UInt8(truncatingIfNeeded: record.file)])
                history.append(attempt!)
                attempt = nil
                if isDurable { durable = history.count - 1 }
                count("changes")
                return
            } catch let failure {
                error = failure as? Errno
            }
            guard error == .noSpace else {
                if !isCrashed { report("append: \(String(describing: error))") }
                return
            }
            count("full")
            dirty.closeEpoch()
            noteEnd()
            now.time.add(.seconds(1), ordering: .relaxed)
            turn()
            if isCrashed || !wrong.isEmpty { return }
        }
        report("the log stays full")
    }

    private func insert(_ record: JournalRecord, _ position: LogPosition, _ handle: [UInt8]) {
        switch record.kind {
        case .data:
            dirty.insert(
                file: record.file, handle: handle, offset: record.offset, length: record.length,
                at: position, time: record.time)
        case .truncate:
            dirty.truncate(
                file: record.file, handle: handle, to: record.offset, before: .max, at: position,
                time: record.time)
        case .zero:
            dirty.zero(
                file: record.file, handle: handle, offset: record.offset, length: record.length,
                at: position, time: record.time)
        case .forget: dirty.expectRemoval(of: record.file)
        case .destaging: dirty.recover(record)
        case .times, .state: break
        }
    }

    /// A file loses its name, as unlink(2) does it, and another one comes.
    private func replaceFile() {
        guard let file = current.keys.sorted().randomElement(using: &generator) else { return }
        let record = JournalRecord(.forget, file: file)
        do throws(Errno) {
            _ = try journal.append(
                record, handle: [UInt8(truncatingIfNeeded: file)],
                payload: UnsafeRawBufferPointer(start: nil, count: 0), isDurable: true)
        } catch {
            if error != .noSpace, !isCrashed { report("forget: \(error)") }
            return
        }
        durable = history.count - 1
        dirty.expectRemoval(of: file)
        datastore.remove(file)
        // The destager may meet the file between the two.
        if random(0..<3) == 0 { turn() }
        if isCrashed { return }
        dirty.forget(file: file)
        count("forgotten")
        let bytes = generator.bytes(random(0..<2000))
        datastore.create(nextFile, bytes)
        for index in history.indices {
            history[index][file] = nil
            history[index][nextFile] = bytes
        }
        nextFile += 1
    }

    /// The datastore takes no changes of a file, or takes them again, or is silent.
    private func annoy() {
        let file = current.keys.sorted().randomElement(using: &generator)
        let errors: [Errno] = [.io, .noSpace, .fileTooBig, .readOnly]
        let error = errors[random(0..<errors.count)]
        let choice = random(0..<6)
        datastore.withState { state in
            switch choice {
            case 0: if let file { state.sick[file] = error }
            case 1: state.silenceOdds = 6
            default:
                state.sick = [:]
                state.silenceOdds = 0
            }
        }
    }

    // MARK: - Destaging

    /// One turn of the destager. At the end of an epoch the datastore is as it was at its end.
    func turn() {
        let epoch = dirty.oldestClosed()
        now.time.add(.milliseconds(700), ordering: .relaxed)
        _ = destager.turn()
        noteEnd()
        for entry in dirty.troubles() { troubled.insert(entry.file) }
        if dirty.figures.parkedFiles > 0 { count("parked") }
        let carried = destager.control.withLock { $0.carried }
        counts["carried", default: 0] += carried - carriedBefore
        carriedBefore = carried
        for file in datastore.withState({ $0.asideIsComplete }) { giveUp(file) }
        guard let epoch, destager.control.withLock({ $0.finished }) == epoch.id, !isCrashed else {
            return
        }
        count("epochs")
        let (files, durable) = datastore.withState { ($0.files, $0.durable) }
        if let end = ends[epoch.id] {
            if !agree(files, history[end]) { report("epoch \(epoch.id) is not home") }
            if !agree(durable, history[end]) { report("epoch \(epoch.id) is not durable") }
        } else if isTorn || reached != nil {
            count("unfinished")  // what a crash has interrupted is in a later epoch
        } else if !isPast(files) || !isPast(durable) {
            report("at the end of epoch \(epoch.id) the datastore is as it never was")
        }
    }

    /// The datastore does not take the file, and the log is full of it: it is kept elsewhere.
    private func giveUp(_ file: UInt64) {
        count("set aside")
        datastore.withState { state in
            state.aside[file] = nil
            state.asideIsComplete.remove(file)
            state.sick[file] = nil
        }
        dirty.forget(file: file)
        datastore.remove(file)
        for index in history.indices { history[index][file] = nil }
        attempt?[file] = nil
    }

    private func agree(
        _ files: [UInt64: SimulatedDatastore.File], _ contents: Contents
    ) -> Bool {
        files.allSatisfy { file, found in
            troubled.contains(file) || contents[file].map { $0 == found.bytes } ?? true
        }
    }

    /// True when the files are as they were at some time.
    func isPast(_ files: [UInt64: SimulatedDatastore.File]) -> Bool {
        let guess = min(lastPast, history.count - 1)
        if let index = history[guess...].firstIndex(where: { agree(files, $0) })
            ?? history[..<guess].lastIndex(where: { agree(files, $0) })
        {
            lastPast = index
            return true
        }
        return attempt.map { agree(files, $0) } ?? false
    }

    /// With the strict order the datastore is as it was at some time, at any moment.
    private func watch() {
        guard isStrict else { return }
        nonisolated(unsafe) let world = Unowned(self)
        datastore.observer.withLock { $0 = { world.value?.lookBelow() } }
    }

    private final class Unowned {
        weak var value: DestageWorld?
        init(_ value: DestageWorld) { self.value = value }
    }

    private func lookBelow() {
        for entry in dirty.troubles() { troubled.insert(entry.file) }
        for file in datastore.withState({ $0.sick.keys }) { troubled.insert(file) }
        count("moments")
        let files = datastore.withState { $0.files }
        if isPast(files) {
            isTorn = false
            if let before = reached, lastPast > before { reached = nil }
        } else if reached != nil {
            count("made again")
        } else if !isTorn || !isPastButTorn(files) {
            report("a moment that never was")
        }
    }

    // MARK: - Looking

    /// A file as a client reads it.
    func read(_ file: UInt64) -> [UInt8]? {
        let below = datastore.withState { $0.files[file]?.bytes } ?? []
        guard let state = dirty.visibleState(of: file, below: { UInt64(below.count) }) else {
            return below
        }
        var pieces: [DirtyPiece] = []
        guard
            let pin = dirty.pieces(file: file, offset: 0, length: state.size, into: &pieces)
        else { return below }
        defer { pin.release() }
        var bytes: [UInt8] = []
        for piece in pieces {
            switch piece {
            case .zeros(let length): bytes += [UInt8](repeating: 0, count: Int(length))
            case .gap(let length):
                let end = bytes.count + Int(length)
                bytes += below[min(bytes.count, below.count)..<min(end, below.count)]
                bytes += [UInt8](repeating: 0, count: end - bytes.count)
            case .data(let position, let skip, let length):
                var part = [UInt8](repeating: 0, count: length)
                do {
                    try part.withUnsafeMutableBytes { memory in
                        try journal.read(position, skip: skip, into: memory)
                    }
                } catch {
                    return nil
                }
                bytes += part
            }
        }
        return bytes
    }

    private func look() {
        guard let file = current.keys.sorted().randomElement(using: &generator) else { return }
        if read(file) != current[file] { report("file \(file) reads wrong") }
    }

    // MARK: - Crashing and coming back

    /// Takes up what is left. What was acknowledged is there.
    func recover(powerCut: Bool) throws {
        // What a dead process was writing arrives now or never, not a turn of the ring later.
        if !powerCut, random(0..<2) == 0 { device.letLateWriteArrive() }
        device.withState { $0.late = nil }
        if isStrict {
            lookBelowTorn(powerCut: powerCut)
        } else {
            datastore.restart(powerCut: powerCut)
        }
        device.restart()
        datastore.withState { state in
            state.sick = [:]
            state.silenceOdds = 0
        }
        journal = try Journal(device)
        dirty = DirtyData(isStrict: isStrict)
        if destager.control.withLock({ $0.unmarked }) > 0 { reached = max(reached ?? 0, lastPast) }
        destager = Self.destager(journal, dirty, datastore, now)
        ends = [:]
        carriedBefore = 0
        _ = try journal.recover { record, position, handle in
            if record.kind != .destaging { _ = dirty.begin() }
            insert(record, position, handle)
            if record.kind != .destaging { dirty.end() }
        }
        dirty.endRecovery()
        recovered = dirty.state.withLock { $0.open.id } - 1
        let known = powerCut ? durable : history.count - 1
        if let attempt { history.append(attempt) }
        attempt = nil
        let exists = datastore.withState { Set($0.files.keys) }
        let found = Dictionary(
            uniqueKeysWithValues: exists.map { ($0, read($0) ?? []) })
        let place = (known..<history.count).last { index in
            history[index].allSatisfy { !exists.contains($0.key) || found[$0.key] == $0.value }
        }
        guard let place else {
            report("what was acknowledged is not there (\(known)..<\(history.count))")
            return
        }
        history.removeLast(history.count - 1 - place)
        for index in history.indices {
            history[index] = history[index].filter { exists.contains($0.key) }
        }
        durable = place
        count("recoveries")
    }

    /// Cuts the power; a write that was under way may be there in part, or what a full log could
    /// not tell was being redone.
    private func lookBelowTorn(powerCut: Bool) {
        datastore.restart(powerCut: powerCut)
        let files = datastore.withState { $0.files }
        isTorn = !isPast(files)
        if isTorn, reached == nil, !isPastButTorn(files) { report("the datastore was never so") }
    }

    /// True when the files are as they were at some time, but for one change that is there in part.
    private func isPastButTorn(_ files: [UInt64: SimulatedDatastore.File]) -> Bool {
        let moments = history + (attempt.map { [$0] } ?? [])
        return moments.indices.dropFirst().contains { index in
            let (before, after) = (moments[index - 1], moments[index])
            return files.allSatisfy { file, found in
                if troubled.contains(file) { return true }
                guard let old = before[file], let new = after[file] else { return true }
                return old == new ? old == found.bytes : isMixture(found.bytes, old, new)
            }
        }
    }

    private func isMixture(_ found: [UInt8], _ old: [UInt8], _ new: [UInt8]) -> Bool {
        guard found.count <= max(old.count, new.count) else { return false }
        return found.indices.allSatisfy { index in
            (index < old.count && found[index] == old[index])
                || (index < new.count && found[index] == new[index])
                || (index >= old.count && found[index] == 0)
        }
    }

    /// Brings everything home: the datastore alone has all of it then, durably.
    func goHome() {
        datastore.withState { state in
            state.sick = [:]
            state.silenceOdds = 0
        }
        // A first turn frees what an earlier life left; an epoch of forgotten files is not dirty.
        for round in 0..<300 where round == 0 || !dirty.isEmpty || dirty.figures.epochs > 0 {
            dirty.closeEpoch()
            noteEnd()
            now.time.add(.seconds(40), ordering: .relaxed)
            turn()
        }
        if !dirty.isEmpty { report("something stays dirty") }
        let (files, durable) = datastore.withState { ($0.files, $0.durable) }
        for (file, bytes) in current {
            if files[file]?.bytes != bytes { report("file \(file) is not home") }
            if durable[file]?.bytes != bytes { report("file \(file) is not durable") }
        }
        if journal.used > journal.capacity / 4 { report("the log is not free: \(journal.used)") }
    }
}
