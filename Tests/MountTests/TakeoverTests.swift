import CLinux
import Glibc
import Synchronization
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// The server may die at any moment: the mount goes on, and nobody gets an error.
    @Suite(.serialized) struct TakeoverTests {
        /// A server whose keeper is killed goes on alone, and is unmounted like any other.
        @Test func keeperIsKilled() throws {
            try withForebay { mount, datastore in
                let server = try mount.serverPid
                let keeper = try mount.keeperPid
                try must { kill(keeper, SIGKILL) }
                #expect(try eventually { try mount.status().integer("keeper_pid") == 0 })
                #expect(try mount.serverPid == server)
                try Files.write(mount.path("new"), [1, 2, 3])
                #expect(try Files.read(datastore.folderPath("new")) == [1, 2, 3])
                try mount.unmount()
            }
        }

        /// Kills the server under threads that write, read back and make and remove names.
        @Test func killsUnderLoad() throws {
            let kills = getenv("FOREBAY_TEST_LONG") == nil ? 5 : 50
            try withForebay(
                prepare: { try Content.write($0.folderPath("cached"), seed: 1, count: 256) }
            ) { mount, datastore in
                _ = try readDirect(mount.path("cached"))
                let load = try Load(mount.path)
                defer { load.stop() }
                var servers: Set<Int32> = []
                for _ in 0..<kills {
                    let progress = load.steps
                    #expect(eventually(within: 20) { load.steps > progress + 20 }, "it goes on")
                    let server = try mount.serverPid
                    #expect(servers.insert(server).inserted, "another server each time")
                    #expect(kill(server, SIGKILL) == 0)
                }
                let progress = load.steps
                #expect(eventually(within: 20) { load.steps > progress + 20 })
                load.stop()
                #expect(load.failures == [])
                #expect(try mount.xattr("restarts") == "\(kills)")
                #expect(try mount.status().integer("restarts") == UInt64(kills))
                #expect(
                    try readDirect(mount.path("cached")) == Content.blocks(seed: 1, count: 256))
                #expect(try Files.names(mount.path) == Files.names(datastore.folder))
                try mount.unmount()
            }
        }

        /// An open file, a cookie of a directory and a lock are the same after the server's death.
        @Test func stateOfClients() throws {
            try withForebay { mount, _ in
                try Content.write(mount.path("file"), seed: 1, count: 16)
                for number in 0..<300 { try Files.write(mount.path("name-\(number)"), []) }
                let file = try TestFile(mount.path("file"), O_RDWR)
                try must { flock(file.raw, LOCK_EX) }
                let removed = try TestFile(mount.path("name-0"), O_RDWR)
                try removed.write([1, 2, 3])
                let stream = try #require(opendir(mount.path))
                defer { closedir(stream) }
                var seen: Set<String> = []
                for _ in 0..<100 { if let entry = readdir(stream) { seen.insert(nameOf(entry)) } }
                let handle = try KernelHandle(mount.path("file"))
                let server = try mount.serverPid
                try must { kill(server, SIGKILL) }
                while let entry = readdir(stream) { seen.insert(nameOf(entry)) }
                #expect(seen.count == 303)
                #expect(try file.read(65_536) == Content.blocks(seed: 1, count: 16))
                try file.write(pattern(5000), at: 100)
                #expect(try file.read(5000, at: 100) == pattern(5000))
                #expect(try removed.read(10) == [1, 2, 3])
                let other = try TestFile(mount.path("file"), O_RDWR)
                expect(.again) { flock(other.raw, LOCK_EX | LOCK_NB) }
                #expect(try handle.open(mount.path).read(100).count == 100)
            }
        }

        /// What was cached is right after the death, whether it is still cached or not, and the
        /// counters go on.
        @Test func cacheAndCounters() throws {
            try withForebay(
                prepare: { try Content.write($0.folderPath("file"), seed: 1, count: 512) }
            ) { mount, _ in
                let expected = Content.blocks(seed: 1, count: 512)
                #expect(try readDirect(mount.path("file")) == expected)
                let before = try Numbers(mount)
                let server = try mount.serverPid
                try must { kill(server, SIGKILL) }
                #expect(try readDirect(mount.path("file")) == expected)
                let after = try Numbers(mount)
                #expect(after.grown("reads", since: before) >= 8)
                #expect(after.grown("read_bytes", since: before) >= 512 * 4096)
            }
        }
    }
}

/// Threads that use a mount and check all that they read, until they are stopped.
final class Load: Sendable {
    private let isStopped = SharedFlag()
    private let found = Mutex<[String]>([])
    private let count = Atomic(0)
    private let threads = Mutex<[Thread]>([])

    init(_ folder: String) throws {
        for number in 0..<4 {
            let thread = try Thread(name: "load") { [self] in
                var random = SplitMix64(seed: UInt64(number))
                let path = "\(folder)/load-\(number)"
                do {
                    let file = try OpenFile(path, O_RDWR | O_CREAT | OpenFile.direct | O_DSYNC)
                    var model: [Int: UInt64] = [:]
                    while !isStopped.isSet {
                        try step(file, path, &model, &random)
                        count.add(1, ordering: .relaxed)
                    }
                } catch {
                    found.withLock { $0.append("\(path): \(error)") }
                }
            }
            threads.withLock { $0.append(thread) }
        }
    }

    /// What went wrong.
    var failures: [String] { found.withLock { $0 } }
    var steps: Int { count.load(ordering: .relaxed) }

    func stop() {
        isStopped.set()
        let all = threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        for thread in all { thread.join() }
    }

    private func step(
        _ file: OpenFile, _ path: String, _ model: inout [Int: UInt64], _ random: inout SplitMix64
    ) throws {
        let block = Int.random(in: 0..<64, using: &random)
        let version = random.next()
        try file.write(Content.block(seed: 2, number: version), at: UInt64(block * 4096))
        model[block] = version
        if let (block, version) = model.randomElement(using: &random) {
            let bytes = try file.read(at: UInt64(block * 4096), count: 4096)
            guard bytes == Content.block(seed: 2, number: version) else {
                throw TestFailure("block \(block) is not what was written last")
            }
        }
        // Each of these must succeed exactly once, also when the server dies in the middle.
        let name = path + "-\(version % 100)"
        let raw = try call { CLinux_open(name, O_CREAT | O_EXCL | O_WRONLY, 0o644) }
        close(raw)
        try call { rename(name, name + "-renamed") }
        try call { link(name + "-renamed", name) }
        try call { unlink(name) }
        try call { unlink(name + "-renamed") }
        try call { mkdir(name, 0o755) }
        try call { rmdir(name) }
    }
}
