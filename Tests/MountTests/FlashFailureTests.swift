import Glibc
import Synchronization
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// The device fails while everything is used: clients do not notice.
    @Suite(.serialized) struct FlashFailureTests {
        private static let isLong = getenv("FOREBAY_TEST_LONG") != nil
        /// 24 MiB: more than RAM has room for.
        private static let blocks = 6144

        /// What is wrong with a device, as orders to its file system.
        struct Fault: Sendable, CustomTestStringConvertible {
            let name: String
            let orders: [String]
            var testDescription: String { name }

            static let all = [
                Fault(name: "errors", orders: ["fail all EIO"]),
                Fault(name: "slow", orders: ["latency all 2000000"]),
                Fault(name: "read-only", orders: ["fail write EROFS", "fail fsync EROFS"]),
                Fault(name: "gone", orders: ["fail all ENODEV"]),
                Fault(name: "hung", orders: ["hang all on"]),
                Fault(name: "errors of reads", orders: ["fail read EIO"]),
            ]
            /// What is tried always; detection and the return take seconds each.
            static let tried = FlashFailureTests.isLong ? all : Array(all[..<2])
        }

        /// Under threads that verify every byte. `alert` is a hook for events.
        @Test func faultsUnderLoad() throws {
            try withFlash(
                prepare: { datastore in
                    try Content.write(datastore.folderPath("disk"), seed: 1, count: Self.blocks)
                    try Content.write(datastore.folderPath("hot"), seed: 2, count: 64)
                }
            ) { mount, datastore, medium in
                let events = try EventLog(mount)
                try fillFlash(mount, "disk", blocks: Self.blocks)
                let path = mount.path
                var tasks: [(String, @Sendable () throws -> any LoadTask)] = [
                    ("hot", { try VerifiedReads(path + "/hot", seed: 2, blocks: 64, most: 4) })
                ]
                for number in 0..<3 {
                    tasks.append(
                        (
                            "disk-\(number)",
                            {
                                try VerifiedReads(
                                    path + "/disk", seed: 1, blocks: Self.blocks, most: 16)
                            }
                        ))
                }
                tasks.append(("stable", { try StableWriter(path + "/stable", 1) }))
                tasks.append(("buffered", { try BufferedWriter(path + "/buffered", 1) }))
                let load = try Workload(tasks)
                defer { load.stop() }
                for (number, fault) in Fault.tried.enumerated() {
                    let served = try Numbers(mount)["hits_flash"]
                    #expect(
                        try eventually { try Numbers(mount)["hits_flash"] > served + 50 },
                        "\(fault.name): flash was in use before")
                    try suffer(fault, mount, medium, load)
                    #expect(
                        eventually { events.count(.problem) > number },
                        "\(fault.name): \(events.lines)")
                    #expect(
                        eventually { events.count(.recovered) > number },
                        "\(fault.name): \(events.lines)")
                }
                load.stop()
                #expect(load.failures == [])
                expectSame(
                    try readDirect(mount.path("disk")),
                    Content.blocks(seed: 1, count: Self.blocks))
                #expect(
                    try Files.haveEqualContents(
                        mount.path("stable"), datastore.folderPath("stable")))
                try mount.unmount()
            }
        }

        private func suffer(
            _ fault: Fault, _ mount: ForebayMount, _ medium: FlashMedium, _ load: Workload
        ) throws {
            for order in fault.orders { try medium.host.command(order) }
            let isTold = eventually {
                let health = mount.health
                return health.hasPrefix("degraded: ") && health.contains("flash")
            }
            #expect(isTold, "\(fault.name): \(mount.health)")
            // Without flash everything goes on at once.
            let start = monotonicNanoseconds()
            #expect(load.progresses(by: 3, within: 10), "\(fault.name): \(load.failures)")
            print("\(fault.name): 3 steps of each took \(monotonicNanoseconds() - start) ns")
            try medium.host.heal()
            let isBack = eventually(within: 30) { mount.health == "healthy" }
            #expect(isBack, "\(fault.name): \(mount.health)")
            let served = try Numbers(mount)["hits_flash"]
            #expect(
                try eventually { try Numbers(mount)["hits_flash"] > served + 50 },
                "\(fault.name): flash is in use again")
            #expect(load.failures == [], "\(fault.name)")
        }

        /// Reads of what is in flash and not in RAM wait for a device that hangs; what is in RAM
        /// is read meanwhile. When the device is given up, the datastore answers those that come.
        @Test func ramIsServedWhileFlashHangs() throws {
            try withFlash(
                prepare: { datastore in
                    for (name, seed) in [("disk", 1), ("hot", 2)] as [(String, UInt64)] {
                        try Content.write(datastore.folderPath(name), seed: seed, count: 1024)
                    }
                }
            ) { mount, _, medium in
                try fillFlash(mount, "disk", blocks: 1024)
                try fillFlash(mount, "hot", blocks: 1024, seed: 2)
                try remount(mount)
                let hot = Content.blocks(seed: 2, count: 1024)
                expectSame(try readDirect(mount.path("hot")), hot)
                try medium.host.hang("read")
                let path = mount.path("disk")
                let right = Atomic(0)
                let readers = try Thread(name: "readers") {
                    try? concurrently(64) { number in
                        let bytes = try DirectReader(path).once(4096, at: number * 16 * 4096)
                        if bytes == Content.block(seed: 1, number: UInt64(number * 16)) {
                            right.add(1, ordering: .relaxed)
                        }
                    }
                }
                try medium.host.waitUntilHeld(2)
                let held = right.load(ordering: .relaxed)
                let before = try Numbers(mount)
                let start = monotonicNanoseconds()
                expectSame(try readDirect(mount.path("hot"), chunk: 16_384), hot)
                let time = monotonicNanoseconds() - start
                let after = try Numbers(mount)
                #expect(after.grown("hits_ram", since: before) == 1024)
                #expect(time < .seconds(1), "\(time) ns")
                #expect(held < 64, "reads waited")
                #expect(eventually { mount.health.contains("flash") }, "\(mount.health)")
                #expect(
                    try DirectReader(path).once(4096, at: 4096)
                        == Content.block(seed: 1, number: 1))
                try medium.host.unhang("read")
                readers.join()
                #expect(right.load(ordering: .relaxed) == 64, "all were answered")
                expectSame(try readDirect(path), Content.blocks(seed: 1, count: 1024))
            }
        }

        /// What is in flash is read while the datastore hangs.
        @Test func flashIsServedWhileTheDatastoreHangs() throws {
            try withFlash(
                options: ["backend_timeout=3"],
                prepare: { datastore in
                    try Content.write(datastore.folderPath("disk"), seed: 1, count: 1024)
                    let cold = try OpenFile(datastore.folderPath("cold"), O_RDWR | O_CREAT)
                    try cold.truncate(to: 64 << 20)
                }
            ) { mount, datastore, _ in
                try #require(try fillFlash(mount, "disk", blocks: 1024) == 1024)
                try remount(mount)
                let reader = try DirectReader(mount.path("disk"))
                let cold = try DirectReader(mount.path("cold"))
                #expect(try reader.once(4096, at: 0) == Content.block(seed: 1, number: 0))
                try datastore.hang()
                let waiters = try Callers(16) { number, calls in
                    _ = try cold.once(4096, at: (number * 100 + calls % 100) * 8192)
                }
                defer { waiters.stop() }
                try datastore.waitUntilHeld(2)
                let before = try Numbers(mount)
                let start = monotonicNanoseconds()
                let bytes = try reader.all()
                let time = monotonicNanoseconds() - start
                expectSame(bytes, Content.blocks(seed: 1, count: 1024))
                #expect(try Numbers(mount).grown("hits_flash", since: before) >= 1000)
                #expect(time < .seconds(3), "\(time) ns")
                try datastore.unhang()
                waiters.stop()
                #expect(waiters.errors.isSubset(of: [.timedOut]))
                #expect(eventually { mount.health == "healthy" })
            }
        }

        /// The device goes for good while it is in use, and one that its link leads to is there
        /// at the next mount, as when a drive is pulled and put back.
        @Test func pulledAndPutBack() throws {
            let space = try TemporaryFolder("link")
            let first = try FlashMedium()
            defer { first.stop() }
            try must { symlink(first.path, space.path("drive")) }
            try withForebay(
                options: ["ram=16M", "flash=\(space.path("drive"))", "flash_dwpd=0"],
                prepare: { try Content.write($0.folderPath("disk"), seed: 1, count: 1024) }
            ) { mount, datastore in
                try awaitFlash(mount)
                try fillFlash(mount, "disk", blocks: 1024)
                try remount(mount)
                let contents = Content.blocks(seed: 1, count: 1024)
                first.host.stop()
                expectSame(try readDirect(mount.path("disk")), contents)
                #expect(eventually { mount.health.contains("flash") })
                let second = try TestDatastore(folder: first.host.folder)
                defer { second.stop() }
                try must { unlink(space.path("drive")) }
                try must { symlink(second.path("flash"), space.path("drive")) }
                try remount(mount)
                #expect(mount.health == "healthy")
                for _ in 0..<2 {
                    expectSame(try FlashReading(mount, datastore, "disk").bytes, contents)
                }
                try mount.unmount()
            }
        }
    }
}

/// Reads of random blocks of a file, each of which is what it must be.
final class VerifiedReads: LoadTask {
    private let reader: DirectReader
    private let seed: UInt64
    private let blocks: Int
    private let most: Int
    private var random: SplitMix64

    /// A file of `blocks` distinct blocks of a seed, read by at most `most` at once.
    init(_ path: String, seed: UInt64, blocks: Int, most: Int) throws {
        reader = try DirectReader(path)
        self.seed = seed
        self.blocks = blocks
        self.most = most
        random = SplitMix64(seed: monotonicNanoseconds())
    }

    func step() throws {
        let count = Int.random(in: 1...most, using: &random)
        let first = Int.random(in: 0...(blocks - count), using: &random)
        let bytes = try reader.once(count * 4096, at: first * 4096)
        guard bytes == Content.blocks(seed: seed, first: UInt64(first), count: count) else {
            throw TestFailure("\(count) blocks from \(first) on are wrong")
        }
    }
}

/// The events of a mount, as a script on an alert channel is told them.
final class EventLog {
    enum State: String { case problem, recovered }

    private let space: TemporaryFolder
    private let configuration: String

    init(_ mount: ForebayMount) throws {
        space = try TemporaryFolder("events")
        configuration = "/etc/forebay/\(mount.name).alerts.toml"
        let hook = "#!/bin/sh\ncat >>\(space.path("told"))\n"
        try Files.write(space.path("hook"), Array(hook.utf8), mode: 0o755)
        mkdir("/etc/forebay", 0o755)
        try Files.write(
            configuration, "interval = 1\n[script]\nprogram = \"\(space.path("hook"))\"\n")
    }

    deinit { unlink(configuration) }

    /// An event on each line.
    var lines: [String] {
        let text = (try? Files.text(space.path("told"))) ?? ""
        return text.split(separator: "\n").map(String.init)
    }

    /// Events of the cache in this state.
    func count(_ state: State) -> Int {
        lines.map { FlatJSON($0) }.count {
            $0.text("class") == "cache" && $0.text("state") == state.rawValue
        }
    }
}
