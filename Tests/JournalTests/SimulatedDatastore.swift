import Glibc
import Journal
import Synchronization
import Syscalls
import TestSupport

/// A datastore in memory. What was written and not made durable may be lost when the power is cut,
/// each sector by itself and in any order; files can refuse what is done to them, or be gone.
final class SimulatedDatastore: DestageTarget {
    enum Change {
        case write(Int, [UInt8])
        case resize(Int)
        case zero(Range<Int>)
    }

    struct File: Equatable {
        var bytes: [UInt8] = []
        var modified = Timestamp()

        mutating func apply(_ change: Change) {
            switch change {
            case .write(let offset, let new):
                let end = offset + new.count
                if bytes.count < end { apply(.resize(end)) }
                bytes.replaceSubrange(offset..<end, with: new)
            case .resize(let size):
                if size < bytes.count {
                    bytes.removeLast(bytes.count - size)
                } else {
                    bytes += [UInt8](repeating: 0, count: size - bytes.count)
                }
            case .zero(let range):
                let range = range.clamped(to: 0..<bytes.count)
                bytes.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
            }
        }
    }

    struct State {
        /// As others see it, and as it is behind a power cut.
        var files: [UInt64: File] = [:]
        var durable: [UInt64: File] = [:]
        var pending: [(file: UInt64, change: Change)] = []
        var calls = 0
        /// The machine that destages stops at this call.
        var crashAt = Int.max
        var isCrashed = false
        /// What files answer to every change.
        var sick: [UInt64: Errno] = [:]
        /// One call in so many cannot be answered.
        var silenceOdds = 0
        /// Nothing is made durable, though it is said.
        var ignoresSync = false
        /// What was set aside: pieces, and whether it is complete.
        var aside: [UInt64: File] = [:]
        var asideReasons: [UInt64: Errno] = [:]
        var asideIsComplete: Set<UInt64> = []
        var unreadable: UInt64 = 0
        /// Calls under way, and the most of them at once.
        var active = 0
        var mostActive = 0
        /// Bytes of the largest write, and how many there were.
        var largestWrite = 0
        var writes = 0
        var generator: SplitMix64
    }

    let state: Mutex<State>
    /// Tells that the machine is dead, or that it dies.
    let isDead: @Sendable () -> Bool
    let die: @Sendable () -> Void
    /// Called behind every change.
    let observer = Mutex<(@Sendable () -> Void)?>(nil)
    /// Called at every call, for what takes time.
    let delay: @Sendable () -> Void

    init(
        seed: UInt64, isDead: @escaping @Sendable () -> Bool = { false },
        die: @escaping @Sendable () -> Void = {}, delay: @escaping @Sendable () -> Void = {}
    ) {
        state = Mutex(State(generator: SplitMix64(seed: seed)))
        self.isDead = isDead
        self.die = die
        self.delay = delay
    }

    func withState<Result>(_ body: (inout State) -> Result) -> Result {
        state.withLock { body(&$0) }
    }

    /// A new file, durable at once, as a server of NFS makes it.
    func create(_ file: UInt64, _ bytes: [UInt8]) {
        withState { state in
            state.files[file] = File(bytes: bytes)
            state.durable[file] = File(bytes: bytes)
        }
    }

    func remove(_ file: UInt64) {
        withState { state in
            state.files[file] = nil
            state.durable[file] = nil
            state.pending.removeAll { $0.file == file }
        }
    }

    // MARK: - What the destager asks for

    private func change(
        _ file: UInt64, _ changes: [Change], isDurable: Bool = false
    ) throws(Errno) {
        withState { state in
            state.active += 1
            state.mostActive = max(state.mostActive, state.active)
        }
        defer { withState { $0.active -= 1 } }
        delay()
        if isDead() { throw .timedOut }
        let dies = try state.withLock { state throws(Errno) -> Bool in
            if state.isCrashed { throw .timedOut }
            state.calls += 1
            let odds = state.silenceOdds
            if odds > 0, Int.random(in: 0..<odds, using: &state.generator) == 0 {
                throw .timedOut
            }
            guard state.files[file] != nil else { throw .stale }
            if let error = state.sick[file] { throw error }
            for change in changes {
                state.files[file]?.apply(change)
                state.pending.append((file, change))
            }
            if state.calls == state.crashAt {
                state.isCrashed = true
                return true
            }
            if isDurable { state.makeDurable(file) }
            return false
        }
        if dies {
            die()
            throw .timedOut
        }
        observer.withLock { $0 }?()
    }

    func write(
        _ file: UInt64, _ bytes: UnsafeRawBufferPointer, at offset: UInt64, isDurable: Bool
    ) throws(Errno) {
        withState { state in
            state.largestWrite = max(state.largestWrite, bytes.count)
            state.writes += 1
        }
        try change(file, [.write(Int(offset), Array(bytes))], isDurable: isDurable)
    }

    func truncate(_ file: UInt64, to size: UInt64) throws(Errno) {
        try change(file, [.resize(Int(size))])
    }

    func zero(_ file: UInt64, at offset: UInt64, length: UInt64) throws(Errno) {
        try change(file, [.zero(Int(offset)..<Int(offset + length))])
    }

    func sync(_ file: UInt64) throws(Errno) { try change(file, [], isDurable: true) }

    func finish(_ file: UInt64, modified: Timestamp) throws(Errno) -> FileState {
        try change(file, [])
        return withState { state in
            state.files[file]?.modified = modified
            return FileState(
                size: UInt64(state.files[file]?.bytes.count ?? 0), modified: modified)
        }
    }

    // MARK: - Setting aside

    func beginSettingAside(
        _ file: UInt64, handle: [UInt8], because error: Errno
    ) throws(Errno) {
        withState { state in
            state.aside[file] = File()
            state.asideReasons[file] = error
            state.asideIsComplete.remove(file)
        }
    }

    func setAside(
        _ file: UInt64, _ bytes: UnsafeRawBufferPointer, at offset: UInt64
    ) throws(Errno) {
        let bytes = Array(bytes)
        withState { $0.aside[file]?.apply(.write(Int(offset), bytes)) }
    }

    func setAsideZeros(_ file: UInt64, at offset: UInt64, length: UInt64) throws(Errno) {
        withState { $0.aside[file]?.apply(.zero(Int(offset)..<Int(offset + length))) }
    }

    func reportUnreadable(_ file: UInt64, at offset: UInt64, length: UInt64) throws(Errno) {
        withState { $0.unreadable += length }
    }

    func endSettingAside(
        _ file: UInt64, size: UInt64?, modified: Timestamp
    ) throws(Errno) {
        withState { state in
            if let size { state.aside[file]?.apply(.resize(Int(size))) }
            state.asideIsComplete.insert(file)
        }
    }

    // MARK: - Crashes

    /// The machine that destages is back. Behind a power cut what was not durable is there in part.
    func restart(powerCut: Bool) {
        withState { state in
            if powerCut { state.cutPower() }
            state.isCrashed = false
            state.crashAt = .max
        }
    }
}

extension SimulatedDatastore.State {
    mutating func makeDurable(_ file: UInt64) {
        if ignoresSync { return }
        guard pending.contains(where: { $0.file == file }) else { return }
        for entry in pending where entry.file == file { durable[file]?.apply(entry.change) }
        pending.removeAll { $0.file == file }
    }

    mutating func cutPower() {
        let share = Int.random(in: 0...4, using: &generator)
        for (file, change) in pending {
            guard case .write(let offset, let bytes) = change else {
                if Int.random(in: 0..<4, using: &generator) < share { durable[file]?.apply(change) }
                continue
            }
            var start = offset
            while start < offset + bytes.count {
                let end = min((start / 512 + 1) * 512, offset + bytes.count)
                if Int.random(in: 0..<4, using: &generator) < share {
                    let part = Array(bytes[start - offset..<end - offset])
                    durable[file]?.apply(.write(start, part))
                }
                start = end
            }
        }
        pending = []
        files = durable
    }
}
