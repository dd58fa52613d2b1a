import CLinux
import Glibc
import Synchronization
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// A datastore that does not answer: what is cached is served on, what is not is told to try
    /// again later.
    @Suite(.serialized) struct HungDatastoreTests {
        private static let blocks = 1024

        private static func prepare(_ datastore: TestDatastore) throws {
            for name in ["hot", "known"] {
                try Content.write(datastore.folderPath(name), seed: 1, count: blocks)
            }
            let cold = try OpenFile(datastore.folderPath("cold"), O_RDWR | O_CREAT)
            try cold.truncate(to: 4 << 30)
        }

        /// Reads of 4 KiB of a cached file in two threads, per second; throws when one is wrong.
        private static func speed(_ path: String, _ flags: Int32) throws -> Double {
            let seconds = 0.7
            let count = Counter()
            try concurrently(2) { thread in
                let file = try OpenFile(path, flags)
                let buffer = AlignedBuffer(4096)
                var random = SplitMix64(seed: UInt64(thread))
                let end = monotonicNanoseconds() + UInt64(seconds * 1e9)
                var done = 0
                while monotonicNanoseconds() < end {
                    let number = Int.random(in: 0..<Self.blocks, using: &random)
                    let found = try file.read(
                        at: UInt64(number * 4096), into: buffer, count: 4096)
                    guard found == 4096 else { throw TestFailure("\(found) bytes at \(number)") }
                    done += 1
                    if done % 64 == 1 {
                        let expected = Content.block(seed: 1, number: UInt64(number))
                        guard buffer.bytes.elementsEqual(expected) else {
                            throw TestFailure("block \(number) is wrong")
                        }
                    }
                }
                count.add(done)
            }
            return Double(count.value) / seconds
        }

        /// Threads that ask for what is not cached until they are told to stop.
        private final class Waiters: Sendable {
            private let isStopped = SharedFlag()
            private let errors = Mutex<[Errno: Int]>([:])
            private let threads = Mutex<[Thread]>([])

            init(_ count: Int, path: String) throws {
                for number in 0..<count {
                    let thread = try Thread(name: "waiter") { [isStopped, self] in
                        var offset = number << 20
                        while !isStopped.isSet {
                            do throws(Errno) {
                                _ = try DirectReader(path).once(4096, at: offset)
                            } catch {
                                self.errors.withLock { $0[error, default: 0] += 1 }
                            }
                            offset += 4096
                        }
                    }
                    threads.withLock { $0.append(thread) }
                }
            }

            /// How often each error came.
            var found: [Errno: Int] { errors.withLock { $0 } }

            func stop() {
                isStopped.set()
                let all = threads.withLock { threads in
                    defer { threads = [] }
                    return threads
                }
                for thread in all { thread.join() }
            }
        }

        @Test func cachedReadsGoOn() throws {
            try withForebay(
                options: ["backend_timeout=3", "attr_timeout=1"], prepare: Self.prepare
            ) { mount, datastore in
                let (hot, known, cold) = (
                    mount.path("hot"), mount.path("known"), mount.path("cold")
                )
                _ = try readDirect(hot)
                _ = try readDirect(known)
                _ = try DirectReader(cold).once(4096, at: 1 << 30)
                let direct = O_RDONLY | OpenFile.direct
                // Files.read leaves the pages of `hot` in the kernel.
                _ = try Files.read(hot)
                let before = try (Self.speed(hot, direct), Self.speed(hot, O_RDONLY))
                let opened = try OpenFile(hot, O_RDONLY | OpenFile.direct)
                try datastore.hang()
                let waiters = try Waiters(500, path: cold)
                defer { waiters.stop() }
                try datastore.waitUntilHeld(1)
                sleep(milliseconds: 500)
                // Known files are opened now, after their attributes have expired.
                var best = (0.0, 0.0, 0.0)
                for _ in 0..<5 {
                    best.0 = max(best.0, try Self.speed(hot, direct))
                    best.1 = max(best.1, try Self.speed(hot, O_RDONLY))
                    best.2 = max(best.2, try Self.speed(known, direct))
                    if best.0 > before.0 / 2, best.1 > before.1 / 2, best.2 > before.0 / 2 { break }
                }
                print("hung datastore: reads/s before \(before), with 500 waiting \(best)")
                #expect(best.0 > before.0 / 2, "O_DIRECT")
                #expect(best.1 > before.1 / 2, "buffered")
                #expect(best.2 > before.0 / 2, "a file that was opened then")
                #expect(try opened.read(at: 0, count: 4096) == Content.block(seed: 1, number: 0))
                #expect(try status(known).size == UInt64(Self.blocks * 4096))
                // All of those that wait are told in time.
                #expect(eventually(within: 20) { waiters.found.values.reduce(0, +) >= 500 })
                #expect(Array(waiters.found.keys) == [.timedOut])
                let isAway = try eventually { try mount.xattr("health").hasPrefix("away") }
                #expect(isAway)
                try datastore.unhang()
                waiters.stop()
                #expect(Array(waiters.found.keys) == [.timedOut])
                try expectRecovery(mount, datastore)
            }
        }

        private func expectRecovery(
            _ mount: ForebayMount, _ datastore: TestDatastore, _ file: String = "hot"
        ) throws {
            let isServing = eventually(within: 30) {
                (try? DirectReader(mount.path("cold")).once(4096, at: 2 << 30))?.count == 4096
            }
            #expect(isServing, "reads after the datastore is back")
            let isHealthy = try eventually(within: 30) { try mount.xattr("health") == "healthy" }
            let health = try mount.xattr("health")
            #expect(isHealthy, "\(health)")
            try Files.write(mount.path("new"), [1, 2, 3])
            #expect(try Files.read(datastore.folderPath("new")) == [1, 2, 3])
            #expect(try readDirect(mount.path(file)) == Content.blocks(seed: 1, count: Self.blocks))
        }

        /// Every operation that needs the datastore ends in ETIMEDOUT, none hangs for ever, none
        /// says that a file is not there. What was asked may still happen when the datastore is
        /// back, as with any NFS server.
        @Test func everythingElseIsToldToTryAgain() throws {
            try withForebay(
                options: ["backend_timeout=2", "attr_timeout=1"], prepare: Self.prepare
            ) { mount, datastore in
                _ = try readDirect(mount.path("hot"))
                let file = try TestFile(mount.path("cold"), O_RDWR)
                for name in ["removed", "moved"] { try Files.write(mount.path(name), [1]) }
                try datastore.hang()
                let path = mount.path
                let operations: [(String, @Sendable () -> Int)] = [
                    ("lookup", { access(path + "/unknown", F_OK) == 0 ? 0 : -1 }),
                    ("mkdir", { Int(mkdir(path + "/directory", 0o755)) }),
                    ("create", { Int(CLinux_open(path + "/created", O_CREAT | O_RDWR, 0o644)) }),
                    ("unlink", { Int(unlink(path + "/removed")) }),
                    ("rename", { Int(rename(path + "/moved", path + "/renamed")) }),
                    ("truncate", { Int(truncate(path + "/known", 0)) }),
                    ("symlink", { Int(symlink("target", path + "/symlink")) }),
                    ("write", { [raw = file.raw] in pwrite(raw, "x", 1, 0) }),
                    ("fsync", { [raw = file.raw] in Int(fsync(raw)) }),
                    (
                        "read",
                        { [raw = file.raw] in
                            withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 4096) {
                                pread(raw, $0.baseAddress, 4096, 3 << 30)
                            }
                        }
                    ),
                ]
                let results = Mutex<[String: Errno]>([:])
                try concurrently(operations.count) { number in
                    let (name, operation) = operations[number]
                    let error = failure(operation)
                    results.withLock { $0[name] = error }
                }
                let found = results.withLock { $0 }
                for (name, _) in operations {
                    #expect(found[name] == .timedOut, "\(name)")
                }
                try datastore.unhang()
                try expectRecovery(mount, datastore)
            }
        }

        /// A short silence is a pause and no error.
        @Test func shortSilence() throws {
            try withForebay(options: ["backend_timeout=20"], prepare: Self.prepare) {
                mount, datastore in
                try datastore.hang("read")
                let path = mount.path("hot")
                let results = Mutex<[[UInt8]?]>([])
                let thread = try Thread(name: "reader") {
                    let found = try? readDirect(path)
                    results.withLock { $0.append(found) }
                }
                try datastore.waitUntilHeld(1)
                sleep(milliseconds: 700)
                try datastore.unhang("read")
                thread.join()
                let expected = Content.blocks(seed: 1, count: Self.blocks)
                #expect(results.withLock { $0 } == [expected])
            }
        }

        /// Errors of the datastore are what the caller gets; the cache keeps none of them.
        @Test(arguments: ["EIO", "ESTALE", "ENOSPC"])
        func errors(name: String) throws {
            try withForebay(prepare: Self.prepare) { mount, datastore in
                let codes: [String: Int32] = ["EIO": EIO, "ESTALE": ESTALE, "ENOSPC": ENOSPC]
                let expected = codes[name] ?? 0
                let operation = name == "ENOSPC" ? "write" : "read"
                try datastore.fail(operation, name)
                let file = try TestFile(mount.path("hot"), O_RDWR)
                var memory = [UInt8](repeating: 0, count: 4096)
                let found = failure {
                    operation == "write"
                        ? pwrite(file.raw, memory, 4096, 0) : pread(file.raw, &memory, 4096, 0)
                }
                #expect(found == Errno(expected))
                try datastore.fail(operation, "none")
                #expect(try file.read(4096) == Content.block(seed: 1, number: 0))
                let bytes = pattern(4096)
                try file.write(bytes)
                #expect(
                    try readDirect(mount.path("hot"), chunk: 4096)[..<4096].elementsEqual(bytes))
            }
        }
    }
}

/// A number that threads add to.
private final class Counter: Sendable {
    private let sum = Atomic(0)
    var value: Int { sum.load(ordering: .relaxed) }
    func add(_ count: Int) { sum.add(count, ordering: .relaxed) }
}
