import Policy
import Synchronization
import Syscalls

/// How dirty data goes home.
package struct DestageSettings: Sendable {
    /// One record after the other, each durable, instead of whole epochs: for `DirtyData`.
    package var isStrict = false
    /// How long changes wait for others that replace them, nanoseconds.
    package var delay = UInt64.seconds(5)
    /// Bytes of the log in use from which writers are slowed; three quarters of it by default.
    package var dirtyMax: UInt64?
    /// Threads that help the one that leads.
    package var helpers = Limits.destageWindow - 1

    package init() {}
}

/// Brings dirty data to the datastore, epoch by epoch, and frees the log. At the end of each epoch
/// the datastore is as clients saw it at one moment, but for files that it does not take: those
/// leave the order, are tried again, carried forward in the log when it runs full, and set aside in
/// the end. They never keep the others from going home.
///
/// One thread leads; it alone closes, finishes and gives up. Others help with the writes.
package final class Destager<Log: ChangeLog, Target: DestageTarget>: Sendable {
    struct Control {
        var isStopping = false
        /// Those who want no destaging at the moment.
        var pauses = 0
        /// The thread that leads is between two epochs.
        var isAtRest = true
        /// Epochs up to this one are home.
        var finished: EpochID = 0
        /// All that is parked is to be tried again; how often that was wanted, and done.
        var retriesWanted = 0
        var retriesDone = 0
        /// How often a file was carried forward in the log.
        var carried = 0
        /// Changes that were made in the strict order without a mark in the log, which was full or
        /// had failed: a successor makes them again.
        var unmarked = 0
        var threads: [Thread] = []
    }

    /// What only the thread that leads knows.
    struct Course {
        /// The log is released up to here.
        var released: LogPosition = 0
        /// When the epoch that is under way began.
        var began: UInt64 = 0
        /// The records of the epoch that is under way are at the datastore up to here; strict
        /// order.
        var strictlyDone: LogPosition = 0
        /// When the datastore, which could not be asked, is tried again.
        var awayUntil: UInt64 = 0
    }

    let log: Log
    let dirty: DirtyData
    let target: Target
    let settings: DestageSettings
    let clock: @Sendable () -> UInt64
    let round = DestageRound()
    let control = Condition(Control())
    let course = Mutex(Course())
    private let kept = Mutex<DestageMemory?>(nil)
    /// For the thread that leads.
    var memory: DestageMemory {
        kept.withLock { kept in
            let memory = kept ?? DestageMemory()
            kept = memory
            return memory
        }
    }
    private let delay: Atomic<UInt64>
    /// Slows writers down while the log fills.
    package let throttle: Throttle

    /// `clock` tells monotonic nanoseconds.
    package init(
        _ log: Log, _ dirty: DirtyData, _ target: Target, _ settings: DestageSettings,
        clock: @escaping @Sendable () -> UInt64 = { monotonicNanoseconds() }
    ) {
        self.log = log
        self.dirty = dirty
        self.target = target
        self.settings = settings
        self.clock = clock
        delay = Atomic(settings.delay)
        throttle = Throttle(
            from: Self.limit(settings.dirtyMax, log.capacity), capacity: log.capacity)
        dirty.setEpochSpan(log.capacity / Limits.epochShare)
    }

    private static func limit(_ dirtyMax: UInt64?, _ capacity: UInt64) -> UInt64 {
        dirtyMax ?? capacity / 4 * 3
    }

    // MARK: - Threads

    /// Starts the threads. Throws when the machine has no more of them.
    package func start() throws(Errno) {
        do throws(Errno) {
            try keep(Thread(name: "destage") { self.run() })
            for number in 0..<settings.helpers {
                try keep(Thread(name: "destage \(number)") { self.help() })
            }
        } catch {
            stop()
            throw error
        }
    }

    private func keep(_ thread: Thread) { control.withLock { $0.threads.append(thread) } }

    /// Ends the threads; waits for the writes that are under way. What is dirty stays in the log.
    package func stop() {
        let threads = control.update { control in
            control.isStopping = true
            defer { control.threads = [] }
            return control.threads
        }
        round.stop()
        dirty.tellNews()
        for thread in threads { thread.join() }
    }

    /// The body of the thread that leads.
    private func run() {
        while !control.withLock({ $0.isStopping }) {
            let now = clock()
            let next = turn()
            guard next > now else { continue }
            dirty.waitForNews(until: min(next, now + Limits.destageIdle))
        }
    }

    private func help() {
        let memory = DestageMemory()
        while let job = round.help() { perform(job, memory) }
    }

    // MARK: - The course of things

    /// Does what there is to do, at most one epoch of it, and tells when to come again.
    package func turn() -> UInt64 {
        guard mayBegin() else { return .max }
        defer { rest() }
        let now = clock()
        let pause = course.withLock { $0.awayUntil }
        if pause > now { return pause }
        round.setPressure(pressure)
        do throws(Errno) {
            try retryParked(now)
            relieve(now)
            if let epoch = dirty.oldestClosed() {
                try dirty.isStrict ? destageStrictly(epoch) : destage(epoch)
                release()
                return 0
            }
        } catch {
            let until = clock() + Limits.awayPause
            course.withLock { $0.awayUntil = until }
            return until
        }
        release()
        guard let since = dirty.openSince() else { return dirty.nextRetry() }
        let due = since + delay.load(ordering: .relaxed)
        guard now >= due || log.used > log.capacity / 2 else {
            return min(due, dirty.nextRetry())
        }
        dirty.closeEpoch()
        return 0
    }

    /// How full the log is.
    var pressure: Double { Double(log.used) / Double(max(1, log.capacity)) }

    private func mayBegin() -> Bool {
        control.update { control in
            // One that has begun an epoch goes on to its end.
            guard control.pauses == 0 || !control.isAtRest, !control.isStopping else {
                return false
            }
            control.isAtRest = false
            return true
        }
    }

    /// Between two epochs, unless the datastore went away within one.
    private func rest() {
        let isWithin = round.isLoaded || course.withLock { $0.strictlyDone > 0 }
        control.update { $0.isAtRest = !isWithin }
    }

    /// Another `destage_delay`, nanoseconds.
    package func setDelay(_ nanoseconds: UInt64) {
        delay.store(nanoseconds, ordering: .relaxed)
        dirty.tellNews()
    }

    /// Another `dirty_max`, bytes; nil for three quarters of the log.
    package func setDirtyMax(_ bytes: UInt64?) {
        throttle.setLimit(Self.limit(bytes, log.capacity))
    }

    /// Frees what nobody needs any more. A log that fails goes on holding it.
    func release() {
        let position = dirty.releasable { log.head }
        let released = course.withLock { $0.released }
        guard position > released else { return }
        do throws(Errno) {
            try log.release(upTo: position)
            course.withLock { $0.released = position }
            dirty.noteReleased(position)
        } catch {
            // It is tried again behind the next epoch.
        }
    }

    // MARK: - Orders

    /// Waits until everything that is dirty now, of one file or of all, is at the datastore and
    /// durable. Throws ETIMEDOUT when the monotonic time `until` passes first, and what the
    /// datastore said of the first file that it does not take; `troubles` of the dirty data has
    /// them all.
    package func flush(_ file: UInt64?, until: UInt64) throws(Errno) {
        if let file, !dirty.isDirty(file) { return }
        let last = dirty.closeEpoch()
        course.withLock { $0.awayUntil = 0 }
        dirty.tellNews()
        try wait(until) { $0.finished >= last }
        guard !concerned(file).isEmpty else { return }
        let wanted = control.update { control in
            control.retriesWanted += 1
            return control.retriesWanted
        }
        dirty.tellNews()
        try wait(until) { $0.retriesDone >= wanted }
        if let first = concerned(file).first { throw first.trouble.error }
    }

    private func concerned(
        _ file: UInt64?
    ) -> [(file: UInt64, handle: [UInt8], trouble: FileTrouble)] {
        dirty.troubles().filter { file == nil || $0.file == file }
    }

    private func wait(_ until: UInt64, _ isSo: (Control) -> Bool) throws(Errno) {
        let isStopped = control.wait(until: until) { control -> Bool? in
            if isSo(control) { return false }
            return control.isStopping ? true : nil
        }
        if isStopped != false { throw .timedOut }
    }

    /// Stops destaging at the end of an epoch, for `resume` to go on. False when it is not there at
    /// the monotonic time `until`; it goes on then.
    package func pause(until: UInt64) -> Bool {
        control.update { $0.pauses += 1 }
        let isAtRest = control.wait(until: until) { $0.isAtRest ? true : nil } ?? false
        if !isAtRest { resume() }
        return isAtRest
    }

    /// Nothing is destaged at the moment, by order.
    package var isPaused: Bool { control.withLock { $0.pauses > 0 } }

    /// Goes on after `pause`.
    package func resume() {
        control.update { $0.pauses = max(0, $0.pauses - 1) }
        dirty.tellNews()
    }
}
