import Policy
import Syscalls

/// The writes of one epoch, given out to threads: per file first the smallest size, then what was
/// written and zeroed in order of offsets, in batches, then size, durability and time. Files do not
/// wait for one another.
final class DestageRound: Sendable {
    /// What a thread has to do next, for the work at an index.
    enum Job: Sendable {
        case cut(Int, FileChanges)
        case write(Int, FileChanges, [Extent])
        case finish(Int, FileChanges)
    }

    /// What became of a file.
    enum Outcome: Equatable, Sendable {
        case home
        /// It was forgotten meanwhile.
        case dropped
        case failed(Errno)
    }

    /// How a job ended.
    enum Ending: Equatable {
        case done
        /// The datastore cannot be asked: to be done again.
        case later
        case outcome(Outcome)
    }

    fileprivate enum Stage { case cutting, writing, finishing, over }

    fileprivate struct Work {
        let changes: FileChanges
        var stage = Stage.cutting
        var cursor: ExtentMap.Cursor
        /// Jobs under way.
        var active = 0
        /// Batches that have to be done again.
        var again: [[Extent]] = []
        /// A job was not answered: those beside it may have been told nothing of an error.
        var mustRepeat = false
        var outcome: Outcome?

        init(_ changes: FileChanges) {
            self.changes = changes
            cursor = changes.extents.cursor(endingAfter: 0)
        }
    }

    private struct State {
        var works: [Work] = []
        /// Those before it are over.
        var first = 0
        var active = 0
        var isAway = false
        var isStopping = false
        var pace = DestagePace()
        var pressure = 0.0
    }

    private let state = Condition(State())

    /// True when a round has begun and not been taken.
    var isLoaded: Bool { state.withLock { !$0.works.isEmpty } }

    /// Begins with the changes of so many files.
    func load(_ files: [FileChanges]) {
        state.update { state in
            state.works = files.map { Work($0) }
            state.first = 0
            state.isAway = false
        }
    }

    /// What became of the files; the round is over.
    func take() -> [(changes: FileChanges, outcome: Outcome)] {
        state.update { state in
            defer {
                state.works = []
                state.first = 0
            }
            return state.works.map { ($0.changes, $0.outcome ?? .dropped) }
        }
    }

    /// The datastore is asked again.
    func resume() { state.update { $0.isAway = false } }

    /// How full the log is, for the pace.
    func setPressure(_ pressure: Double) { state.withLock { $0.pressure = pressure } }

    /// Writes that may be under way now.
    var window: Int { state.withLock { $0.pace.window(pressure: $0.pressure) } }

    /// Everybody is told that there is no more to do.
    func stop() { state.update { $0.isStopping = true } }

    // MARK: - Giving out

    /// What the thread that leads is to do.
    enum Step {
        case job(Job)
        /// All files are over.
        case over
        /// The datastore cannot be asked, or the destager stops; nothing is under way any more.
        case interrupted
    }

    /// The next job of the thread that leads; waits while others have all there is.
    func lead() -> Step {
        state.wait { state -> Step? in
            Self.pass(&state)
            if state.first == state.works.count { return .over }
            if state.isAway || state.isStopping { return state.active == 0 ? .interrupted : nil }
            return Self.next(&state).map { .job($0) }
        } ?? .interrupted
    }

    /// The next job of a thread that helps; nil when it is to end.
    func help() -> Job? {
        state.wait { state -> Job?? in
            if state.isStopping { return .some(nil) }
            return Self.next(&state).map { .some($0) }
        } ?? nil
    }

    private static func next(_ state: inout State) -> Job? {
        guard !state.isAway, state.active < state.pace.window(pressure: state.pressure) else {
            return nil
        }
        pass(&state)
        for index in state.first..<state.works.count {
            guard let job = job(&state.works[index], index) else { continue }
            state.active += 1
            state.works[index].active += 1
            return job
        }
        return nil
    }

    /// Passes the files that are over.
    private static func pass(_ state: inout State) {
        while state.first < state.works.count, state.works[state.first].stage == .over {
            state.first += 1
        }
    }

    private static func job(_ work: inout Work, _ index: Int) -> Job? {
        guard work.outcome == nil else { return nil }
        if work.stage == .cutting {
            if work.active > 0 { return nil }
            if work.changes.truncatedTo != nil { return .cut(index, work.changes) }
            work.stage = .writing
        }
        if work.stage == .writing {
            if let batch = work.again.popLast() { return .write(index, work.changes, batch) }
            let batch = batch(of: work.changes, &work.cursor)
            if !batch.isEmpty { return .write(index, work.changes, batch) }
            if work.active > 0 { return nil }
            work.stage = .finishing
        }
        if work.stage == .finishing, work.active == 0 { return .finish(index, work.changes) }
        return nil
    }

    private static func batch(
        of changes: FileChanges, _ cursor: inout ExtentMap.Cursor
    ) -> [Extent] {
        var (batch, bytes) = ([Extent](), UInt64(0))
        while batch.count < Limits.destageBatchExtents, bytes < UInt64(Limits.destageBatch),
            let extent = changes.extents.extent(at: cursor)
        {
            batch.append(extent)
            if !extent.isZeros { bytes += extent.length }
            cursor = changes.extents.next(cursor)
        }
        return batch
    }

    // MARK: - Taking back

    /// A job has ended, after so many nanoseconds.
    func ended(_ job: Job, _ ending: Ending, bytes: UInt64, nanoseconds: UInt64) {
        state.update { state in
            let index = job.index
            state.active -= 1
            state.works[index].end(job, ending)
            switch ending {
            case .done:
                if bytes > 0 { state.pace.ended(bytes: bytes, nanoseconds: nanoseconds) }
            case .later:
                state.isAway = true
                state.pace.failed()
            case .outcome: break
            }
        }
    }
}

extension DestageRound.Job {
    var index: Int {
        switch self {
        case .cut(let index, _), .write(let index, _, _), .finish(let index, _): index
        }
    }

    var changes: FileChanges {
        switch self {
        case .cut(_, let changes), .write(_, let changes, _), .finish(_, let changes): changes
        }
    }
}

extension DestageRound.Work {
    fileprivate mutating func end(_ job: DestageRound.Job, _ ending: DestageRound.Ending) {
        active -= 1
        switch (job, ending) {
        case (_, .outcome(let outcome)):
            // The first that is not good stays.
            if self.outcome == nil || self.outcome == .home { self.outcome = outcome }
        case (.write(_, _, let batch), .later):
            again.append(batch)
            mustRepeat = true
        case (.write(_, _, let batch), .done): if mustRepeat { again.append(batch) }
        case (.cut, .done): stage = .writing
        case (.finish, .done): outcome = .home
        case (_, .later): break
        }
        if active == 0 {
            mustRepeat = false
            if outcome != nil { stage = .over }
        }
    }
}
