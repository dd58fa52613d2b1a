import Devices
import Glibc
import Synchronization
import Syscalls
import TestSupport

/// A log device in memory. What was written and not flushed may be lost when the power is cut, each
/// sector by itself and in any order. Everything follows from the seed.
final class SimulatedLogDevice: BlockDevice {
    struct Write {
        var offset: Int
        var bytes: [UInt8]
    }

    enum Crash {
        /// The process dies; a write that it was at may reach the device later.
        case kill
        case powerCut
    }

    struct State {
        var durable: [UInt8]
        var current: [UInt8]
        /// What is not durable, in order.
        var pending: [Write] = []
        var reads = 0
        var bytesRead = 0
        var writes = 0
        var flushes = 0
        /// What happens at this write or flush; nothing works afterwards.
        var crashAt = Int.max
        var crash = Crash.kill
        var isCrashed = false
        /// The write that the process died in, before it reached the device.
        var late: Write?
        /// Microseconds that a write takes.
        var delay: UInt32 = 0
        var failsWrites = false
        var failsFlushes = false
        var failsReads = false
        /// Places that cannot be read.
        var bad: Range<Int> = 0..<0
        var generator: SplitMix64
    }

    let size: UInt64
    let logicalBlockSize: UInt32
    let hasVolatileCache: Bool
    /// A device that says that it has flushed, and has not.
    let ignoresFlushes: Bool
    private let state: Mutex<State>

    init(
        size: Int, sector: UInt32, seed: UInt64, hasVolatileCache: Bool = true,
        ignoresFlushes: Bool = false
    ) {
        self.size = UInt64(size)
        logicalBlockSize = sector
        self.hasVolatileCache = hasVolatileCache
        self.ignoresFlushes = ignoresFlushes
        let zeros = [UInt8](repeating: 0, count: size)
        state = Mutex(State(durable: zeros, current: zeros, generator: SplitMix64(seed: seed)))
    }

    func withState<Result>(_ body: (inout State) -> Result) -> Result {
        state.withLock { body(&$0) }
    }

    func read(_ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
        try check(memory.count, offset)
        try state.withLock { state throws(Errno) in
            if state.isCrashed || state.failsReads { throw .io }
            if state.bad.overlaps(Int(offset)..<Int(offset) + memory.count) { throw .io }
            state.current.withUnsafeBytes { bytes in
                _ = memcpy(memory.baseAddress!, bytes.baseAddress! + Int(offset), memory.count)
            }
            state.reads += 1
            state.bytesRead += memory.count
        }
    }

    func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        try write(memory, at: offset, isDurable: false)
    }

    func writeDurably(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        try write(memory, at: offset, isDurable: !ignoresFlushes)
    }

    private func write(
        _ memory: UnsafeRawBufferPointer, at offset: UInt64, isDurable: Bool
    ) throws(Errno) {
        try check(memory.count, offset)
        let sector = Int(logicalBlockSize)
        let write = Write(offset: Int(offset), bytes: Array(memory))
        let delay = withState { $0.delay }
        if delay > 0 { usleep(delay) }
        try state.withLock { state throws(Errno) in
            if state.isCrashed || state.failsWrites { throw .io }
            state.writes += 1
            if state.writes + state.flushes == state.crashAt {
                if state.crash == .powerCut { state.apply(write, sector, isDurable: false) }
                state.late = write
                state.stop(sector)
                throw .io
            }
            state.apply(write, sector, isDurable: isDurable || !hasVolatileCache)
        }
    }

    func flush() throws(Errno) {
        try state.withLock { state throws(Errno) in
            if state.isCrashed || state.failsFlushes { throw .io }
            state.flushes += 1
            if state.writes + state.flushes == state.crashAt {
                state.stop(Int(logicalBlockSize))
                throw .io
            }
            if ignoresFlushes { return }
            for write in state.pending { state.makeDurable(write.range) }
            state.pending = []
        }
    }

    /// What calls must keep to.
    private func check(_ count: Int, _ offset: UInt64) throws(Errno) {
        let sector = Int(logicalBlockSize)
        precondition(count > 0 && count % sector == 0 && Int(offset) % sector == 0, "not aligned")
        guard offset + UInt64(count) <= size else { throw .io }
    }

    /// Plans a crash within the next writes and flushes.
    func crash(_ crash: Crash, after count: Int) {
        state.withLock { state in
            state.crashAt = state.writes + state.flushes + count
            state.crash = crash
        }
    }

    /// The process dies, or the power is cut, between two calls.
    func stop(_ crash: Crash) {
        state.withLock { state in
            state.crash = crash
            state.stop(Int(logicalBlockSize))
        }
    }

    /// Another process opens the device. The write that the last one died in comes later, if at
    /// all.
    func restart() {
        state.withLock { state in
            state.isCrashed = false
            state.crashAt = .max
            state.failsWrites = false
            state.failsFlushes = false
        }
    }

    /// The write that a dead process was at reaches the device.
    func letLateWriteArrive() {
        state.withLock { state in
            if let late = state.late {
                state.apply(late, Int(logicalBlockSize), isDurable: false)
            }
            state.late = nil
        }
    }
}

extension SimulatedLogDevice.State {
    mutating func apply(_ write: SimulatedLogDevice.Write, _ sector: Int, isDurable: Bool) {
        let range = write.range
        Self.copy(write.bytes[...], to: &current, at: write.offset)
        if isDurable {
            makeDurable(range)
            // What is older than this must not come back.
            for index in pending.indices.reversed() where pending[index].overlaps(range) {
                let old = pending.remove(at: index)
                for start in stride(from: old.offset, to: old.offset + old.bytes.count, by: sector)
                where !range.contains(start) {
                    let place = start - old.offset
                    let bytes = Array(old.bytes[place..<place + sector])
                    pending.insert(.init(offset: start, bytes: bytes), at: index)
                }
            }
        } else {
            pending.append(write)
        }
    }

    /// What is there now survives a power cut.
    mutating func makeDurable(_ range: Range<Int>) {
        Self.copy(current[range], to: &durable, at: range.lowerBound)
    }

    // Thousands of crashes are simulated, without optimisation: not byte by byte.
    private static func copy(_ bytes: ArraySlice<UInt8>, to target: inout [UInt8], at offset: Int) {
        bytes.withUnsafeBytes { source in
            target.withUnsafeMutableBytes { target in
                _ = memcpy(target.baseAddress! + offset, source.baseAddress!, source.count)
            }
        }
    }

    mutating func stop(_ sector: Int) {
        guard !isCrashed else { return }
        isCrashed = true
        guard crash == .powerCut else { return }
        // Of what was not flushed each sector is there or is not, by chance.
        late = nil
        let share = Int.random(in: 0...4, using: &generator)
        for write in pending {
            for start in stride(from: 0, to: write.bytes.count, by: sector)
            where Int.random(in: 0..<4, using: &generator) < share {
                Self.copy(
                    write.bytes[start..<start + sector], to: &durable, at: write.offset + start)
            }
        }
        pending = []
        current = durable
    }
}

extension SimulatedLogDevice.Write {
    var range: Range<Int> { offset..<offset + bytes.count }

    func overlaps(_ range: Range<Int>) -> Bool {
        offset < range.upperBound && range.lowerBound < offset + bytes.count
    }
}
