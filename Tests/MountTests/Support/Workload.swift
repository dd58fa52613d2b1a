import Glibc
import Synchronization
import Syscalls
import TestSupport

/// What one thread of a workload does again and again. It checks everything that it is told, and
/// throws at the first thing that is not as it must be.
protocol LoadTask: AnyObject {
    func step() throws
    /// After the last step.
    func finish() throws
}

extension LoadTask {
    func finish() throws {}
}

/// Threads that use a mount until they are stopped, or until something is wrong.
final class Workload: Sendable {
    private final class Runner: Sendable {
        let name: String
        let steps = Atomic(0)
        init(_ name: String) { self.name = name }
    }

    private let isStopped = SharedFlag()
    private let found = Mutex<[String]>([])
    private let runners: [Runner]
    private let threads = Mutex<[Thread]>([])
    private let faults: @Sendable () -> [String]

    /// Starts a thread for each task, which it makes itself. `faults` looks for what is wrong with
    /// all of them together, after the last one has ended.
    init(
        _ tasks: [(name: String, make: @Sendable () throws -> any LoadTask)],
        faults: @escaping @Sendable () -> [String] = { [] }
    ) throws {
        self.faults = faults
        runners = tasks.map { Runner($0.name) }
        for (runner, task) in zip(runners, tasks) {
            let thread = try Thread(name: runner.name) { [self] in
                do {
                    let task = try task.make()
                    while !isStopped.isSet {
                        try task.step()
                        runner.steps.add(1, ordering: .relaxed)
                    }
                    try task.finish()
                } catch {
                    found.withLock { $0.append("\(runner.name): \(error)") }
                }
            }
            threads.withLock { $0.append(thread) }
        }
    }

    /// Steps of all threads whose name begins so.
    func steps(of prefix: String) -> Int {
        runners.filter { $0.name.hasPrefix(prefix) }
            .reduce(0) { $0 + $1.steps.load(ordering: .relaxed) }
    }

    /// What went wrong.
    var failures: [String] { found.withLock { $0 } }

    /// Waits until every thread has made so many more steps. False when that takes too long or
    /// something went wrong.
    func progresses(by count: Int = 1, within seconds: UInt64 = 30) -> Bool {
        let before = runners.map { $0.steps.load(ordering: .relaxed) }
        let isThrough = eventually(within: seconds) {
            let now = runners.map { $0.steps.load(ordering: .relaxed) }
            return !failures.isEmpty || zip(now, before).allSatisfy { $0 >= $1 + count }
        }
        if !isThrough {
            let now = runners.map { "\($0.name) \($0.steps.load(ordering: .relaxed))" }
            found.withLock { $0.append("no progress: \(before), then \(now)") }
        }
        return isThrough && failures.isEmpty
    }

    /// Ends the threads and waits for them.
    func stop() {
        isStopped.set()
        let all = threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        for thread in all { thread.join() }
        if !all.isEmpty { found.withLock { $0 += faults() } }
    }
}

extension Workload {
    /// Every kind of task on one mount: stable and buffered writers that read back what they
    /// wrote, changes of names against a model, and threads that contend for names.
    static func mixed(_ folder: String) throws -> Workload {
        let contest = try Contest(folder)
        var tasks: [(name: String, make: @Sendable () throws -> any LoadTask)] = []
        func add(
            _ name: String, _ make: @escaping @Sendable (String) throws -> any LoadTask
        ) { tasks.append((name, { try make("\(folder)/\(name)") })) }
        for number in 0..<2 {
            let seed = UInt64(number)
            add("stable-\(number)") { try StableWriter($0, seed) }
            add("buffered-\(number)") { try BufferedWriter($0, seed) }
            add("names-\(number)") { try NamesTask($0, seed) }
            add("contest-\(number)") { _ in ContestTask(contest) }
        }
        return try Workload(tasks) { contest.faults() }
    }
}

/// Writes blocks past the page cache, each durable before the call returns, and reads them back.
final class StableWriter: LoadTask {
    private let file: OpenFile
    private var model: [Int: UInt64] = [:]
    private var random: SplitMix64

    init(_ path: String, _ seed: UInt64) throws {
        file = try OpenFile(path, O_RDWR | O_CREAT | OpenFile.direct | O_DSYNC)
        random = SplitMix64(seed: seed)
    }

    func step() throws {
        let block = Int.random(in: 0..<64, using: &random)
        let version = random.next()
        try file.write(Content.block(seed: 2, number: version), at: UInt64(block * 4096))
        model[block] = version
        if let (block, version) = model.randomElement(using: &random) {
            try check(block, version)
        }
    }

    func finish() throws {
        for (block, version) in model { try check(block, version) }
    }

    private func check(_ block: Int, _ version: UInt64) throws {
        let bytes = try file.read(at: UInt64(block * 4096), count: 4096)
        guard bytes == Content.block(seed: 2, number: version) else {
            throw TestFailure("block \(block) is not what was written last")
        }
    }
}

/// Writes pieces of any size anywhere through the page cache, cuts the file off and extends it,
/// makes it durable now and then, and compares it with a copy in memory.
final class BufferedWriter: LoadTask {
    private static let size = 1 << 20
    private let path: String
    private let file: OpenFile
    private var model: [UInt8] = []
    private var random: SplitMix64

    init(_ path: String, _ seed: UInt64) throws {
        self.path = path
        file = try OpenFile(path, O_RDWR | O_CREAT)
        random = SplitMix64(seed: seed ^ 0xb0ff)
    }

    func step() throws {
        switch Int.random(in: 0..<20, using: &random) {
        case 0:
            let size = Int.random(in: 0...Self.size, using: &random)
            try file.truncate(to: UInt64(size))
            resize(to: size)
        case 1: try file.sync()
        case 2: file.dropPageCache()
        case 3..<10: try read()
        default: try write()
        }
    }

    func finish() throws {
        let bytes = try file.read(at: 0, count: Self.size * 2)
        guard bytes == model else {
            let place = Content.firstDifference(bytes, model) ?? -1
            throw TestFailure("\(bytes.count) bytes, \(model.count) expected, from \(place) on")
        }
    }

    private func resize(to size: Int) {
        if size < model.count { model.removeSubrange(size...) }
        if size > model.count {
            model.append(contentsOf: repeatElement(0, count: size - model.count))
        }
    }

    private func write() throws {
        let count = Int.random(in: 1...65536, using: &random)
        let offset = Int.random(in: 0...(Self.size - count), using: &random)
        let bytes = random.bytes(count)
        try file.write(bytes, at: UInt64(offset))
        if model.count < offset + count { resize(to: offset + count) }
        model.replaceSubrange(offset..<(offset + count), with: bytes)
    }

    private func read() throws {
        let offset = Int.random(in: 0..<Self.size, using: &random)
        let bytes = try file.read(at: UInt64(offset), count: 65536)
        let expected = Array(model.dropFirst(offset).prefix(65536))
        if let place = Content.firstDifference(bytes, expected) {
            throw TestFailure("byte \(offset + place) is not what was written last")
        }
    }
}
