import Glibc
import ReadCache
import Synchronization
import Syscalls
import TestSupport

/// What a crash leaves: the memory, and what the datastore has.
final class CrashImage {
    let memory: TierMemory
    let ids: [CacheID]
    /// The version of every block, file by file.
    var versions: [UInt64]
    let changesUnderWay: Int
    private let blocks: UInt64

    init(
        memory: TierMemory, ids: [CacheID], versions: [UInt64], blocks: UInt64,
        changesUnderWay: Int
    ) {
        self.memory = memory
        self.ids = ids
        self.versions = versions
        self.blocks = blocks
        self.changesUnderWay = changesUnderWay
    }

    func number(_ file: Int, _ block: UInt64) -> UInt64 {
        CrashLoad.number(file, block, versions[file * Int(blocks) + Int(block)])
    }
}

/// Threads that read, fill, write and drop, and can be stopped wherever they are.
final class CrashLoad: @unchecked Sendable {
    static let budget = 2 << 20
    static let calmBlocks: UInt64 = 200

    let harness: TierHarness
    /// The files with changing contents, and last the one that nobody changes.
    let ids: [CacheID]
    var calmFile: CacheID { ids[ids.count - 1] }

    private let memory: TierMemory
    private let mapped: SharedMemory
    private let files: Int
    private let blocks: UInt64
    private let pins: Bool
    private let versions: UnsafeMutablePointer<Atomic<UInt64>>
    private let changes = Atomic<Int>(0)
    private let mistakes = Atomic<Int>(0)
    private let isStopped = Atomic<Bool>(false)
    private var threads: [Thread] = []
    private let handles: UnsafeMutablePointer<Atomic<UInt>>
    private static let threadCount = 4

    var wrong: Int { mistakes.load(ordering: .relaxed) }

    init(
        seed: UInt64, generations: UInt32, files: Int, blocks: UInt64, pins: Bool
    ) throws {
        memory = try TierMemory()
        let tier = try MemoryTier(
            budget: Self.budget, framesDescriptor: memory.descriptor,
            key: (0..<64).map { UInt8($0) &* 3 &+ 1 }, generations: generations)
        harness = TierHarness(tier: tier)
        mapped = try SharedMemory(descriptor: memory.descriptor, populated: false)
        ids = (0...files).map { _ in tier.newFile() }
        self.files = files
        self.blocks = blocks
        self.pins = pins
        versions = .allocate(capacity: files * Int(blocks))
        for place in 0..<(files * Int(blocks)) { (versions + place).initialize(to: Atomic(0)) }
        handles = .allocate(capacity: Self.threadCount)
        for place in 0..<Self.threadCount { (handles + place).initialize(to: Atomic(0)) }
        harness.fillDistinct(calmFile, blocks: 0..<Self.calmBlocks, offset: 1 << 48, pinned: true)
        _ = harness.hits(calmFile, 0..<Self.calmBlocks)
        StopSignal.install()
        for index in 0..<Self.threadCount {
            threads.append(try Thread(name: "crash") { [self] in run(index, seed) })
        }
        let isUp = eventually {
            (0..<Self.threadCount).allSatisfy { self.handles[$0].load(ordering: .acquiring) != 0 }
        }
        guard isUp else { throw TestFailure("the threads did not start") }
    }

    deinit {
        stop()
        versions.deallocate()
        handles.deallocate()
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
        for thread in threads { thread.join() }
        threads = []
    }

    /// The block's contents in a version: version 0 is the same in all files, every eighth version
    /// of a block zero.
    static func number(_ file: Int, _ block: UInt64, _ version: UInt64) -> UInt64 {
        if (version + block) % 8 == 7 { return 0 }
        if version == 0 { return block + 1 }
        return UInt64(file + 1) << 56 | block << 32 | version
    }

    /// Stops all threads between two instructions and copies the memory, then lets them go on.
    func image() throws -> CrashImage {
        let copy = try TierMemory()
        try SharedMemory.extend(copy.descriptor, to: mapped.size)
        let target = try SharedMemory(descriptor: copy.descriptor, populated: true)
        var state = [UInt64](repeating: 0, count: files * Int(blocks))
        var underWay = 0
        // A stopped thread may hold any lock: nothing here may need one.
        state.withUnsafeMutableBytes { state in
            StopSignal.stop(handles, Self.threadCount)
            memcpy(target.base, mapped.base, mapped.size)
            if let base = state.baseAddress { memcpy(base, versions, state.count) }
            underWay = changes.load(ordering: .relaxed)
            StopSignal.release(Self.threadCount)
        }
        return CrashImage(
            memory: copy, ids: ids, versions: state, blocks: blocks, changesUnderWay: underWay)
    }

    private func run(_ index: Int, _ seed: UInt64) {
        StopSignal.allow()
        handles[index].store(UInt(pthread_self()), ordering: .releasing)
        var generator = SeededGenerator(state: seed &* 1000 &+ UInt64(index))
        while !isStopped.load(ordering: .relaxed) {
            let file = Int.random(in: 0..<files, using: &generator)
            let count = UInt64.random(in: 1...min(24, blocks), using: &generator)
            let first = UInt64.random(in: 0...(blocks - count), using: &generator)
            switch generator.next() % 8 {
            case 0, 1: write(file, first..<(first + count))
            case 2...4: read(file, first..<(first + count))
            default: fill(file, first..<(first + count))
            }
        }
    }

    private func version(_ file: Int, _ block: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
        versions + (file * Int(blocks) + Int(block))
    }

    private func write(_ file: Int, _ range: Range<UInt64>) {
        changes.add(1, ordering: .relaxed)
        let ticket = harness.tier.beginWrite(
            ids[file], firstBlock: range.lowerBound, count: UInt64(range.count))
        for block in range {
            version(file, block).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        }
        harness.tier.endWrite(ticket)
        changes.subtract(1, ordering: .relaxed)
    }

    private func fill(_ file: Int, _ range: Range<UInt64>) {
        changes.add(1, ordering: .relaxed)
        defer { changes.subtract(1, ordering: .relaxed) }
        let ticket = harness.tier.beginFill(
            ids[file], firstBlock: range.lowerBound, count: range.count)
        let numbers = range.map { block in
            Self.number(
                file, block, version(file, block).pointee.load(ordering: .sequentiallyConsistent))
        }
        harness.endFill(ticket, numbers, pinned: pins && range.lowerBound % 16 == 0)
    }

    private func read(_ file: Int, _ range: Range<UInt64>) {
        var lease = ReadLease()
        var zeros = 0
        let found = harness.tier.lookup(
            ids[file], firstBlock: range.lowerBound, count: range.count, into: &lease,
            zeros: &zeros)
        for index in 0..<found where TierHarness.number(lease.address(index)) == .max {
            mistakes.add(1, ordering: .relaxed)
        }
    }
}

/// Stops threads between two of their instructions: a signal's handler that waits.
private enum StopSignal {
    private static let stopped = Atomic<Int>(0)
    private static let isHeld = Atomic<Bool>(false)

    static func install() {
        // The handler must not be the first to use these.
        stopped.store(0, ordering: .sequentiallyConsistent)
        isHeld.store(false, ordering: .sequentiallyConsistent)
        signal(SIGUSR2) { _ in
            StopSignal.stopped.add(1, ordering: .sequentiallyConsistent)
            while StopSignal.isHeld.load(ordering: .sequentiallyConsistent) { sched_yield() }
            StopSignal.stopped.subtract(1, ordering: .sequentiallyConsistent)
        }
    }

    /// Lets the calling thread be stopped.
    static func allow() {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGUSR2)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    }

    static func stop(_ handles: UnsafeMutablePointer<Atomic<UInt>>, _ count: Int) {
        isHeld.store(true, ordering: .sequentiallyConsistent)
        for index in 0..<count {
            pthread_kill(pthread_t(handles[index].load(ordering: .relaxed)), SIGUSR2)
        }
        while stopped.load(ordering: .sequentiallyConsistent) < count { sched_yield() }
    }

    static func release(_ count: Int) {
        isHeld.store(false, ordering: .sequentiallyConsistent)
        while stopped.load(ordering: .sequentiallyConsistent) > 0 { sched_yield() }
    }
}
