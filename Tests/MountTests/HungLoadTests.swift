import CLinux
import Glibc
import Synchronization
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// The datastore does not answer while everything is used, and comes back: after a minute in
    /// the long form, else after a third of it.
    @Suite(.serialized) struct HungLoadTests {
        private static let seconds: UInt64 = getenv("FOREBAY_TEST_LONG") == nil ? 20 : 60
        private static let blocks = 256

        @Test func silenceUnderLoad() throws {
            try withForebay(
                options: ["backend_timeout=3", "attr_timeout=1"],
                prepare: { datastore in
                    try Content.write(datastore.folderPath("hot"), seed: 1, count: Self.blocks)
                    let cold = try OpenFile(datastore.folderPath("cold"), O_RDWR | O_CREAT)
                    try cold.truncate(to: 64 << 30)
                }
            ) { mount, datastore in
                _ = try readDirect(mount.path("hot"))
                let (path, outcomes) = (mount.path, Outcomes())
                let tasks: [(String, @Sendable () throws -> any LoadTask)] = [
                    ("hot-0", { try HotReads(path + "/hot", Self.blocks) }),
                    ("hot-1", { try HotReads(path + "/hot", Self.blocks) }),
                    ("cold-0", { try ColdReads(path + "/cold", 0, outcomes) }),
                    ("cold-1", { try ColdReads(path + "/cold", 1, outcomes) }),
                    ("disk-0", { try Writes(path, "disk-0", outcomes) }),
                    ("disk-1", { try Writes(path, "disk-1", outcomes) }),
                    ("names", { Names(path, outcomes) }),
                ]
                let load = try Workload(tasks)
                defer { load.stop() }
                #expect(load.progresses(by: 5), "\(load.failures)")
                #expect(outcomes.late == 0)
                try datastore.hang()
                let start = monotonicNanoseconds()
                try datastore.waitUntilHeld(1)
                let isAway = try eventually(within: 15) {
                    try mount.xattr("health").hasPrefix("away")
                }
                #expect(isAway)
                var done = outcomes.done
                while monotonicNanoseconds() - start < .seconds(Self.seconds) {
                    let before = load.steps(of: "hot")
                    let isRead = eventually(within: 5) { load.steps(of: "hot") > before + 10 }
                    try #require(isRead && load.failures.isEmpty, "\(load.failures)")
                    sleep(milliseconds: 500)
                    done = outcomes.done
                }
                #expect(outcomes.late > 3 * Int(Self.seconds) / 3, "misses and writes were told")
                try datastore.unhang()
                let back = monotonicNanoseconds()
                // Calls that hung end now, with an answer that nobody waits for.
                #expect(eventually(within: 2) { outcomes.done >= done + 20 })
                let served = Double(monotonicNanoseconds() - back) / 1e9
                #expect(eventually(within: 4) { (try? mount.xattr("health")) == "healthy" })
                let healthy = Double(monotonicNanoseconds() - back) / 1e9
                print("after \(Self.seconds) s: serves after \(served) s, healthy after \(healthy)")
                #expect(load.progresses(by: 5), "\(load.failures)")
                load.stop()
                #expect(load.failures == [])
                for folder in [mount.path, datastore.folder] {
                    #expect(outcomes.faults(in: folder) == [])
                }
                try mount.unmount()
            }
        }
    }
}

/// What the load was told, and what must therefore be true.
private final class Outcomes: Sendable {
    private struct State {
        var done = 0
        var late = 0
        /// What each block of a file may hold: what was written last, and what may have been.
        var blocks: [String: [Int: Set<UInt64>]] = [:]
        /// Folders that were made, true, or may have been.
        var folders: [String: Bool] = [:]
    }

    private let state = Mutex(State())

    /// Calls that went well, beside reads of what is cached.
    var done: Int { state.withLock { $0.done } }
    /// Calls that were told to try later.
    var late: Int { state.withLock { $0.late } }

    /// Runs a call that may be told to try later; true when it went well.
    func attempt(_ body: () throws -> Void) throws -> Bool {
        do {
            try body()
        } catch let error as Errno where error == .timedOut {
            state.withLock { $0.late += 1 }
            return false
        }
        state.withLock { $0.done += 1 }
        return true
    }

    func wrote(_ version: UInt64, to block: Int, of file: String, surely: Bool) {
        state.withLock { state in
            if surely { state.blocks[file, default: [:]][block] = [] }
            state.blocks[file, default: [:]][block, default: [0]].insert(version)
        }
    }

    func made(_ folder: String, surely: Bool) { state.withLock { $0.folders[folder] = surely } }

    /// What is not as it must be, in the mount or on the datastore.
    func faults(in folder: String) -> [String] {
        let (blocks, folders) = state.withLock { ($0.blocks, $0.folders) }
        var faults: [String] = []
        for (name, versions) in blocks {
            guard let bytes = try? Files.read("\(folder)/\(name)") else {
                faults.append("\(name) cannot be read")
                continue
            }
            for (block, possible) in versions {
                let found = Array(bytes.dropFirst(block * 4096).prefix(4096))
                let isRight = possible.contains { version in
                    let zeros = version == 0 && found.allSatisfy { $0 == 0 }
                    return zeros || found == Content.block(seed: 2, number: version)
                }
                if !isRight { faults.append("block \(block) of \(name)") }
            }
        }
        for (name, surely) in folders where surely && !Files.exists("\(folder)/\(name)") {
            faults.append("\(name) is lost")
        }
        let known = Set(folders.keys).union(blocks.keys).union(["hot", "cold"])
        let others = Set((try? Files.names(folder)) ?? []).subtracting(known)
        return faults + others.map { "\($0) was never made" }
    }
}

/// Opens and reads what is cached: neither may ever fail.
private final class HotReads: LoadTask {
    private let path: String
    private let blocks: Int
    private var random = SplitMix64(seed: 5)

    init(_ path: String, _ blocks: Int) throws {
        self.path = path
        self.blocks = blocks
    }

    func step() throws {
        let file = try OpenFile(path, O_RDONLY | OpenFile.direct)
        for _ in 0..<16 {
            let number = Int.random(in: 0..<blocks, using: &random)
            let bytes = try file.read(at: UInt64(number * 4096), count: 4096)
            guard bytes == Content.block(seed: 1, number: UInt64(number)) else {
                throw TestFailure("block \(number) is wrong")
            }
        }
    }
}

private final class ColdReads: LoadTask {
    private let reader: DirectReader
    private let outcomes: Outcomes
    private var offset: Int

    init(_ path: String, _ number: Int, _ outcomes: Outcomes) throws {
        reader = try DirectReader(path)
        self.outcomes = outcomes
        offset = number << 35
    }

    func step() throws {
        // Far from one another: no read-ahead.
        offset += 1 << 18
        _ = try outcomes.attempt {
            guard try reader.once(4096, at: offset).allSatisfy({ $0 == 0 }) else {
                throw TestFailure("not zero at \(offset)")
            }
        }
    }
}

private final class Writes: LoadTask {
    private let file: OpenFile
    private let name: String
    private let outcomes: Outcomes
    private var random = SplitMix64(seed: 6)

    init(_ folder: String, _ name: String, _ outcomes: Outcomes) throws {
        let flags = O_RDWR | O_CREAT | OpenFile.direct | O_DSYNC
        file = try OpenFile("\(folder)/\(name)", flags)
        self.name = name
        self.outcomes = outcomes
    }

    func step() throws {
        let block = Int.random(in: 0..<64, using: &random)
        let version = random.next() | 1
        let bytes = Content.block(seed: 2, number: version)
        let isDone = try outcomes.attempt { try file.write(bytes, at: UInt64(block * 4096)) }
        outcomes.wrote(version, to: block, of: name, surely: isDone)
    }
}

private final class Names: LoadTask {
    private let folder: String
    private let outcomes: Outcomes
    private var number = 0

    init(_ folder: String, _ outcomes: Outcomes) {
        self.folder = folder
        self.outcomes = outcomes
    }

    func step() throws {
        number += 1
        let name = "folder-\(number)"
        let path = "\(folder)/\(name)"
        let isDone = try outcomes.attempt { try call { mkdir(path, 0o755) } }
        outcomes.made(name, surely: isDone)
        sleep(milliseconds: 5)
    }
}
