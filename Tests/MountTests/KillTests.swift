import Glibc
import Syscalls
import TestSupport
import Testing

/// Servers die in every way and at the worst moments, a hundred of them (a thousand with
/// FOREBAY_TEST_LONG=1), under threads and a process that check every byte and every answer.
extension OnMounts {
    @Suite(.serialized) struct KillTests {
        private static let scale = getenv("FOREBAY_TEST_LONG") == nil ? 1 : 10

        /// Runs `body` while everything uses the mount; nothing may go wrong, up to the end.
        private func underLoad(
            _ mount: ForebayMount, datastore: String, _ body: (Workload, Killer) throws -> Void
        ) throws {
            let load = try Workload.mixed(mount.path)
            defer { load.stop() }
            let fio = try Fio(mount.path("fio"))
            let killer = try Killer(mount)
            #expect(load.progresses(by: 2), "it began: \(load.failures)")
            let bypassed = try Numbers(mount)["bypassed"]
            try body(load, killer)
            #expect(load.progresses(by: 2), "it goes on: \(load.failures)")
            load.stop()
            #expect(load.failures == [])
            try fio.stop()
            killer.expectKillsCounted()
            #expect(try Numbers(mount)["bypassed"] == bypassed)
            #expect(eventually { (try? mount.xattr("health")) == "healthy" })
            #expect(try mount.xattr("restarts") == "\(killer.restarts)")
            #expect(try Files.names(mount.path) == Files.names(datastore))
            for name in ["stable-0", "buffered-0", "buffered-1", "fio"] {
                #expect(try Files.haveEqualContents(mount.path(name), "\(datastore)/\(name)"))
            }
        }

        /// Ends the server in each of these ways, one after the other, with the load going on in
        /// between.
        private func kill(_ signals: [Int32], _ load: Workload, _ killer: Killer) throws {
            var random = SplitMix64.announced()
            for signal in signals {
                let restarts = killer.restarts
                sleep(milliseconds: UInt64.random(in: 0..<100, using: &random))
                try killer.kill(signal)
                try #require(killer.awaitSuccessor(since: restarts), "after signal \(signal)")
                try #require(load.progresses(), "\(load.failures)")
            }
        }

        /// A server that dies of a trap may have a reason that comes back: two such deaths within
        /// seconds are told from others. So each test has few, and far from one another.
        @Test func signals() throws {
            let backing = try TemporaryFolder("backing")
            try withForebay(over: backing.path) { mount in
                try underLoad(mount, datastore: backing.path) { load, killer in
                    let kills = Array(repeating: SIGKILL, count: 33 * Self.scale)
                    for signals in [[SIGSEGV], kills, [SIGSTOP], kills, [SIGSTOP, SIGABRT]] {
                        try kill(signals, load, killer)
                    }
                    #expect(killer.restarts == killer.kills)
                }
            }
        }

        /// The successor dies too, while it takes over.
        @Test func deathsDuringTakeover() throws {
            let backing = try TemporaryFolder("backing")
            try withForebay(over: backing.path) { mount in
                try underLoad(mount, datastore: backing.path) { load, killer in
                    var random = SplitMix64.announced()
                    for _ in 0..<(6 * Self.scale) {
                        let victim = try killer.kill(SIGKILL)
                        #expect(eventually { killer.server != nil && killer.server != victim })
                        sleep(milliseconds: UInt64.random(in: 0..<60, using: &random))
                        let restarts = killer.restarts
                        try killer.kill(SIGKILL)
                        try #require(killer.awaitSuccessor(since: restarts))
                        try #require(load.progresses(), "\(load.failures)")
                    }
                    try kill([SIGBUS], load, killer)
                }
            }
        }

        /// The datastore is silent while the server dies, and comes back under its successor.
        @Test func hungDatastore() throws {
            try withForebay(options: ["backend_timeout=60"]) { mount, datastore in
                try underLoad(mount, datastore: datastore.folder) { load, killer in
                    for signal in Array(repeating: SIGKILL, count: 3 * Self.scale) + [SIGFPE] {
                        try datastore.hang()
                        try datastore.waitUntilHeld(2)
                        let restarts = killer.restarts
                        try killer.kill(signal)
                        sleep(milliseconds: 200)
                        try datastore.unhang()
                        try #require(killer.awaitSuccessor(since: restarts))
                        try #require(load.progresses(), "\(load.failures)")
                    }
                }
            }
        }

        /// The datastore takes 20 ms for everything.
        @Test func slowDatastore() throws {
            try withForebay { mount, datastore in
                try underLoad(mount, datastore: datastore.folder) { load, killer in
                    try datastore.setLatency("all", microseconds: 20_000)
                    let kills = Array(repeating: SIGKILL, count: 4 * Self.scale)
                    try kill(kills + [SIGILL], load, killer)
                    try datastore.setLatency("all", microseconds: 0)
                }
            }
        }

        /// Half of the machine's memory is the cache's. In the long form it is full.
        @Test func muchMemory() throws {
            let backing = try TemporaryFolder("backing")
            let half = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)) / 2
            try withForebay(over: backing.path, options: ["ram=\(half >> 20)M"]) { mount in
                try Content.write(backing.path("cached"), seed: 7, count: 16_384 * Self.scale)
                _ = try readDirect(mount.path("cached"), chunk: 1 << 20)
                // What was read enters the cache behind the reply.
                let isCached = try eventually {
                    try Numbers(mount)["cached_bytes"] >= 16_384 * Self.scale / 10 * 9 * 4096
                }
                let cached = try Numbers(mount)["cached_bytes"]
                #expect(isCached, "\(cached) bytes are cached")
                try underLoad(mount, datastore: backing.path) { load, killer in
                    let kills = Array(repeating: SIGKILL, count: 9 * Self.scale)
                    try kill(kills + [SIGTRAP], load, killer)
                }
                let file = try DirectReader(mount.path("cached"))
                for number in stride(from: 0, to: 16_384 * Self.scale, by: 97) {
                    let expected = Content.block(seed: 7, number: UInt64(number))
                    try #require(try file.once(4096, at: number * 4096) == expected)
                }
            }
        }
    }
}
