import Glibc
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What flash had when the processes ended, it has for those that come after.
    @Suite(.serialized) struct FlashWarmTests {
        private static let isLong = getenv("FOREBAY_TEST_LONG") != nil
        /// Contents that are lost in a crash at most: those of the region that was being filled.
        private static let region = 1024

        private func withFilled(
            _ blocks: Int, _ body: (ForebayMount, TestDatastore, FlashMedium) throws -> Void
        ) throws {
            try withFlash(
                prepare: { try Content.write($0.folderPath("disk"), seed: 1, count: blocks) }
            ) { mount, datastore, medium in
                let filled = try fillFlash(mount, "disk", blocks: blocks)
                try #require(filled == blocks)
                try body(mount, datastore, medium)
            }
        }

        /// What is stored is told to the log once a second; nothing shows from outside that it was.
        private func awaitLog() { sleep(milliseconds: 2 * Limits.flashUpkeep + 200) }

        @Test func anotherMount() throws {
            try withFilled(2048) { mount, datastore, medium in
                for _ in 0..<2 {
                    try remount(mount) {
                        let check = try medium.check()
                        #expect(check.text("result") == "clean")
                        #expect(check.text("in_use") == "false")
                        #expect(check.integer("contents") == 2048)
                    }
                    let reading = try FlashReading(mount, datastore, "disk")
                    expectSame(reading.bytes, Content.blocks(seed: 1, count: 2048))
                    #expect(reading.flash == 2048, "\(reading.text)")
                    #expect(reading.misses == 0 && reading.datastoreReads == 0, "\(reading.text)")
                }
            }
        }

        /// The keeper starts another server; the device passes to it when the dead one lets go.
        @Test func theDeathOfAServer() throws {
            try withFilled(6144) { mount, datastore, _ in
                awaitLog()
                let server = try mount.serverPid
                try must { kill(server, SIGKILL) }
                #expect(try eventually { try mount.serverPid != server })
                try awaitFlash(mount)
                let reading = try FlashReading(mount, datastore, "disk")
                expectSame(reading.bytes, Content.blocks(seed: 1, count: 6144))
                #expect(reading.flash > 2000, "\(reading.text)")
                #expect(reading.misses <= Self.region, "\(reading.text)")
                print("after the death of a server: \(reading.text)")
            }
        }

        @Test func theDeathOfEverything() throws {
            try withFilled(4096) { mount, datastore, medium in
                awaitLog()
                try crash(mount) { try medium.expectInUse() }
                let reading = try FlashReading(mount, datastore, "disk")
                expectSame(reading.bytes, Content.blocks(seed: 1, count: 4096))
                #expect(reading.flash >= 4096 - Self.region, "\(reading.text)")
                print("after the death of everything: \(reading.text)")
            }
        }

        /// A machine's disk: written all the time, up to the moment at which everything dies. What
        /// was written is read as it is on the datastore, and the rest is still in flash.
        @Test func aFileThatIsWrittenAtTheDeath() throws {
            try withFilled(4096) { mount, datastore, medium in
                // All of it durable on the device, as after some time.
                try remount(mount)
                let events = try EventLog(mount)
                var warm = 0
                for round in 0..<(Self.isLong ? 20 : 2) as Range<UInt64> {
                    let writer = try DiskWriter(
                        mount.path("disk"), blocks: 0..<1024, seed: round)
                    #expect(eventually { writer.writes > 50 })
                    awaitLog()
                    try crash(mount) {
                        writer.stop()
                        try medium.expectInUse()
                    }
                    #expect(writer.lastWriteAge < .seconds(5), "it was written up to the end")
                    let below = try Files.read(datastore.folderPath("disk"))
                    let reading = try FlashReading(mount, datastore, "disk")
                    expectSame(reading.bytes, below, "round \(round)")
                    expectSame(
                        Array(reading.bytes[(1024 * 4096)...]),
                        Content.blocks(seed: 1, first: 1024, count: 3072))
                    // Rounds lose what was read last and not yet written to the device; a machine
                    // too busy to sample the disk each second loses what flash has of it.
                    if reading.flash >= 3072 - Self.region { warm += 1 }
                    print("written at the death: \(reading.text)")
                }
                #expect(warm > 0, "flash was warm once")
                #expect(events.count(.problem) == 0, "\(events.lines)")
            }
        }

        /// The device loses what it had not made durable.
        @Test func aCutOfThePower() throws {
            try withFilled(4096) { mount, datastore, medium in
                try remount(mount)
                var random = SplitMix64.announced()
                var (lost, warm) = (0, 0)
                let events = try EventLog(mount)
                for round in 0..<(Self.isLong ? 40 : 10) as Range<UInt64> {
                    try medium.host.setVolatile(true)
                    let writer = try DiskWriter(
                        mount.path("disk"), blocks: 0..<1024, seed: round)
                    // The disk is sampled, and the log told.
                    #expect(eventually { writer.writes > 50 })
                    awaitLog()
                    // New contents fill a region, which is on its way to the device at the cut.
                    try Content.write(
                        datastore.folderPath("new"), seed: 10 + round, count: 2048)
                    try medium.host.hang("fsync")
                    let reader = try Callers(1) { [path = mount.path("new")] _, _ in
                        _ = try readDirect(path, chunk: 1 << 20)
                    }
                    try medium.host.waitUntilHeld(1)
                    sleep(milliseconds: UInt64.random(in: 0..<100, using: &random))
                    try crash(mount) {
                        writer.stop()
                        reader.stop()
                        lost += try medium.host.cut(seed: random.next())
                        try medium.host.setVolatile(false)
                        try medium.host.heal()
                    }
                    let below = try Files.read(datastore.folderPath("disk"))
                    let reading = try FlashReading(mount, datastore, "disk")
                    expectSame(reading.bytes, below, "round \(round)")
                    // A disk that began to be written a moment before is not always believed.
                    if reading.flash >= 3072 - Self.region { warm += 1 }
                    print("after a cut of the power: \(reading.text)")
                    if !Self.isLong, round > 0, lost > 0, warm > 0 { break }
                }
                #expect(lost > 0, "the device lost something")
                #expect(warm > 0, "and kept something")
                #expect(events.count(.problem) == 0, "\(events.lines)")
            }
        }
    }
}

/// A machine that writes single blocks of its disk at random places, each durable before the next.
final class DiskWriter: Sendable {
    private let count = Atomic(0)
    private let last = Atomic<UInt64>(0)
    private let isStopped = SharedFlag()
    private let thread = Mutex<Thread?>(nil)

    init(_ path: String, blocks: Range<Int>, seed: UInt64) throws {
        let started = try Thread(name: "writer") { [self] in
            var random = SplitMix64(seed: seed)
            guard let file = try? OpenFile(path, O_WRONLY | OpenFile.direct | O_DSYNC) else {
                return
            }
            while !isStopped.isSet {
                let block = Int.random(in: blocks, using: &random)
                let bytes = Content.block(seed: 100 + seed, number: random.next())
                guard (try? file.write(bytes, at: UInt64(block * 4096))) != nil else { return }
                count.add(1, ordering: .relaxed)
                last.store(monotonicNanoseconds(), ordering: .relaxed)
            }
        }
        thread.withLock { $0 = started }
    }

    deinit { stop() }

    /// Writes that were answered.
    var writes: Int { count.load(ordering: .relaxed) }
    /// Nanoseconds since the last one.
    var lastWriteAge: UInt64 { monotonicNanoseconds() - last.load(ordering: .relaxed) }

    func stop() {
        isStopped.set()
        let started = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        started?.join()
    }
}
