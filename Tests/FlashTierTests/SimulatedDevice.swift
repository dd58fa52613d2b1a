import Devices
import FlashTier
import Glibc
import Synchronization
import Syscalls
import TestSupport

/// A device in memory. What was written and not flushed may be lost, in part and in any order, when
/// the power is cut; blocks can be damaged; any call can fail. Everything follows from the seed.
final class SimulatedDevice: BlockDevice {
    struct State {
        /// What is durable, and what was written since, per block.
        var durable: [UInt64: [UInt8]] = [:]
        var written: [UInt64: [UInt8]] = [:]
        var reads = 0
        var writes = 0
        var flushes = 0
        /// The power is cut at this write; nothing works afterwards.
        var crashAt = Int.max
        var isCrashed = false
        /// One call in so many fails.
        var failureOdds = 0
        /// Blocks that cannot be read.
        var badBlocks: Set<UInt64> = []
        /// From now on every call fails.
        var isDead = false
        /// Writes are told of, with the state as it is behind them.
        var observer: (@Sendable (State) -> Void)?
        var generator: SplitMix64
    }

    let size: UInt64
    let logicalBlockSize: UInt32
    private let state: Mutex<State>

    init(blocks: Int, seed: UInt64, logicalBlockSize: UInt32 = 4096) {
        size = UInt64(blocks) * 4096
        self.logicalBlockSize = logicalBlockSize
        state = Mutex(State(generator: SplitMix64(seed: seed)))
    }

    /// A device in the state that another one was in; chance goes its own way.
    init(_ other: State, blocks: Int, seed: UInt64, logicalBlockSize: UInt32) {
        size = UInt64(blocks) * 4096
        self.logicalBlockSize = logicalBlockSize
        var copy = other
        copy.observer = nil
        copy.generator = SplitMix64(seed: seed)
        state = Mutex(copy)
    }

    func withState<Result>(_ body: (inout State) -> Result) -> Result {
        state.withLock { body(&$0) }
    }

    func read(_ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
        try check(memory.count, offset)
        try state.withLock { state throws(Errno) in
            try state.mayFail()
            state.reads += 1
            for index in 0..<memory.count / 4096 {
                let block = offset / 4096 + UInt64(index)
                if state.badBlocks.contains(block) { throw .io }
                let target = UnsafeMutableRawBufferPointer(
                    rebasing: memory[index * 4096..<(index + 1) * 4096])
                if let bytes = state.written[block] ?? state.durable[block] {
                    bytes.withUnsafeBytes { _ = memcpy(target.baseAddress!, $0.baseAddress!, 4096) }
                } else {
                    memset(target.baseAddress!, 0, 4096)
                }
            }
        }
    }

    func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        try check(memory.count, offset)
        try state.withLock { state throws(Errno) in
            try state.mayFail()
            state.writes += 1
            for index in 0..<memory.count / 4096 {
                let block = offset / 4096 + UInt64(index)
                state.written[block] = Self.block(memory, index)
            }
            if let observer = state.observer { observer(state) }
            if state.writes == state.crashAt {
                state.cutPower(logicalBlockSize)
                throw .io
            }
        }
    }

    func flush() throws(Errno) {
        try state.withLock { state throws(Errno) in
            try state.mayFail()
            state.flushes += 1
            state.durable.merge(state.written) { _, new in new }
            state.written = [:]
        }
    }

    private static func block(_ memory: UnsafeRawBufferPointer, _ index: Int) -> [UInt8] {
        Array(unsafeUninitializedCapacity: 4096) { target, count in
            memcpy(target.baseAddress!, memory.baseAddress! + index * 4096, 4096)
            count = 4096
        }
    }

    /// What calls must keep to.
    private func check(_ count: Int, _ offset: UInt64) throws(Errno) {
        precondition(count > 0 && count % 4096 == 0 && offset % 4096 == 0, "not aligned")
        guard offset + UInt64(count) <= size else { throw .io }
    }

    /// The power is cut now.
    func cutPower() { state.withLock { $0.cutPower(logicalBlockSize) } }

    /// The power is back.
    func restart() {
        state.withLock { state in
            state.isCrashed = false
            state.crashAt = .max
            state.failureOdds = 0
            state.isDead = false
        }
    }

    /// Changes one bit of a block that has been written. Answers which block.
    func flipBit(in blocks: ClosedRange<UInt64>) -> UInt64? {
        state.withLock { state in
            let candidates = state.durable.keys.filter(blocks.contains).sorted()
            guard let block = candidates.randomElement(using: &state.generator) else { return nil }
            let bit = Int.random(in: 0..<4096 * 8, using: &state.generator)
            state.durable[block]?[bit / 8] ^= 1 << (bit % 8)
            return block
        }
    }
}

extension SimulatedDevice.State {
    mutating func mayFail() throws(Errno) {
        if isCrashed || isDead { throw .io }
        if failureOdds > 0, Int.random(in: 0..<failureOdds, using: &generator) == 0 { throw .io }
    }

    /// Of what was not flushed each sector is there or is not, by chance.
    mutating func cutPower(_ sector: UInt32) {
        isCrashed = true
        let keptShare = Int.random(in: 0...4, using: &generator)
        for (block, bytes) in written.sorted(by: { $0.key < $1.key }) {
            var now = durable[block] ?? [UInt8](repeating: 0, count: 4096)
            for start in stride(from: 0, to: 4096, by: Int(sector))
            where Int.random(in: 0..<4, using: &generator) < keptShare {
                now.replaceSubrange(
                    start..<start + Int(sector), with: bytes[start..<start + Int(sector)])
            }
            durable[block] = now
        }
        written = [:]
    }
}
