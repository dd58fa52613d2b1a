import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// A log on a device that loses power, or fails.
    @Suite(.serialized) struct JournalPowerTests {
        private static let isLong = getenv("FOREBAY_TEST_LONG") != nil

        /// Runs `body` with a mount whose log lies on a file system that misbehaves when told to.
        private func withMedium(
            _ options: [String], _ body: (ForebayMount, TestDatastore, TestDatastore) throws -> Void
        ) throws {
            try withDatastore { medium in
                let log = medium.path("log")
                let given = ["ram=16M", "log=\(log):64M", "write=back"] + options
                try withForebay(options: given) { mount, datastore in
                    // A medium that fails would hold up the unmount.
                    defer { _ = try? medium.heal() }
                    try body(mount, datastore, medium)
                }
            }
        }

        /// The power goes, and with it what the device had not been told to keep: every write that
        /// was answered as stable is there, through the mount and then on the datastore alone.
        @Test func cutsOfThePower() throws {
            var random = SplitMix64.announced()
            try withMedium(["destage_delay=0.3"]) { mount, datastore, medium in
                var model: [UInt8] = []
                var lost = 0
                for round in 0..<(Self.isLong ? 50 : 3) {
                    try medium.setVolatile(true)
                    do {
                        let stable = try OpenFile(
                            mount.path("stable"), O_RDWR | O_CREAT | OpenFile.direct | O_DSYNC)
                        let other = try OpenFile(
                            mount.path("other-\(round)"), O_RDWR | O_CREAT | OpenFile.direct)
                        for _ in 0..<60 {
                            let blocks = random.bytes(4096 * Int.random(in: 1...8, using: &random))
                            let place = Int.random(in: 0...model.count / 4096, using: &random)
                            try stable.write(blocks, at: UInt64(place * 4096))
                            model.replaceSubrange(
                                place * 4096..<min(model.count, place * 4096 + blocks.count),
                                with: blocks)
                            try other.write(blocks, at: UInt64(place * 4096))
                        }
                        // A cut keeps a write as a whole one time in three: there are several.
                        for number in 0..<8 {
                            try other.write(random.bytes(4096), at: UInt64(number * 4096))
                        }
                    }
                    for process in mount.processes() { kill(process.pid, SIGKILL) }
                    Mounts.removeAll(below: mount.path)
                    try #require(eventually { mount.processes().isEmpty })
                    lost += try medium.cut(seed: random.next() >> 33)
                    try medium.setVolatile(false)
                    try mount.mount()
                    #expect(try readDirect(mount.path("stable")) == model, "round \(round)")
                }
                #expect(lost > 0, "something was lost with the power")
                try mount.command("flush")
                #expect(try Files.read(datastore.folderPath("stable")) == model)
            }
        }

        /// The log fails under a load: clients notice nothing, what was in it comes home, and a
        /// server that comes later does not read it again.
        @Test func aLogThatFails() throws {
            try withMedium(["destage_delay=2"]) { mount, datastore, medium in
                let load = try Workload.mixed(mount.path)
                defer { load.stop() }
                #expect(load.progresses(by: 2), "\(load.failures)")
                try medium.fail("write", "EIO")
                #expect(eventually { (try? mount.xattr("health"))?.hasPrefix("degraded") == true })
                #expect(load.progresses(by: 2), "\(load.failures)")
                load.stop()
                #expect(load.failures == [])
                try mount.command("flush")
                #expect(try mount.xattr("dirty_bytes") == "0")
                for name in ["stable-0", "buffered-0"] {
                    #expect(
                        try Files.haveEqualContents(mount.path(name), datastore.folderPath(name)))
                }
                try medium.heal()
                let new = Content.blocks(seed: 3, count: 16)
                try OpenFile(mount.path("stable-0"), O_RDWR | OpenFile.direct).write(new, at: 0)
                let restarts = try mount.xattr("restarts")
                kill(try mount.serverPid, SIGKILL)
                #expect(try eventually { try mount.xattr("restarts") != restarts })
                #expect(Array(try Files.read(mount.path("stable-0"))[..<new.count]) == new)
                #expect(
                    Array(try Files.read(datastore.folderPath("stable-0"))[..<new.count]) == new)
            }
        }
    }
}
