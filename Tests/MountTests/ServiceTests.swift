import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// The keeper as the main process of a service: the mount outlives it.
    @Suite(.serialized) final class ServiceTests {
        private let space: TemporaryFolder
        private let backing: String
        private let mountpoint: String
        private let name = "service-\(getpid())"
        private let manager: FakeServiceManager

        init() throws {
            space = try TemporaryFolder("service")
            backing = try space.makeFolder("backing")
            mountpoint = try space.makeFolder("mount")
            manager = try FakeServiceManager()
            try Content.write("\(backing)/disk", seed: 1, count: 64)
        }

        deinit {
            manager.stop()
            Mounts.removeAll(below: mountpoint)
            for file in ["sock", "lock", "toml"] { unlink("/run/forebay/\(name).\(file)") }
        }

        private func start() throws -> ChildProcess {
            let options = "ram=16M,name=\(name),state=\(space.path("state"))"
            return try manager.start(
                ["mount", backing, mountpoint, "--foreground", "-o", options])
        }

        private func awaitReady(_ times: Int, _ process: ChildProcess) throws {
            try #require(
                eventually(within: 20) { manager.count("READY=1") >= times }, "\(process.outputs)")
        }

        private func status(_ key: String) throws -> UInt64? {
            let result = try ChildProcess.check(
                try Programs.forebay, ["status", mountpoint, "--json"])
            return FlatJSON(result.output).integer(key)
        }

        @Test func theMountOutlivesItsKeeper() throws {
            var keeper = try start()
            try awaitReady(1, keeper)
            #expect(try status("keeper_pid") == UInt64(keeper.pid))
            #expect(manager.keptNames == ["frames", "fuse", "lock", "root", "slots"])
            #expect(Mounts.at(mountpoint)?.type == "fuse.forebay")
            let connection = Mounts.at(mountpoint)?.minor
            let path = "\(mountpoint)/written"
            let load = SharedFlag()
            let written = Condition(0)
            let failure = Condition("")
            let writer = try Thread(name: "writer") {
                do {
                    let file = try OpenFile(path, O_RDWR | O_CREAT | O_SYNC)
                    while !load.isSet {
                        let bytes = Content.blocks(seed: UInt64(written.withLock { $0 }), count: 1)
                        try file.write(bytes, at: 0)
                        guard try file.read(at: 0, count: 4096) == bytes else { throw Errno.io }
                        written.update { $0 += 1 }
                    }
                } catch { failure.update { $0 = "\(error)" } }
            }
            for round in 1...3 {
                let before = written.withLock { $0 }
                try #require(eventually(within: 20) { written.withLock { $0 } > before + 5 })
                let server = try #require(try status("server_pid"))
                if round == 3 { kill(pid_t(server), SIGKILL) }
                keeper.signal(SIGKILL)
                _ = keeper.wait(seconds: 10)
                // Two servers must not answer the same requests.
                #expect(eventually(within: 5) { !ProcessTable.isAlive(pid_t(server)) })
                keeper = try start()
                try awaitReady(round + 1, keeper)
                #expect(try status("keeper_pid") == UInt64(keeper.pid))
                #expect(try status("restarts") == UInt64(round))
            }
            let last = written.withLock { $0 }
            try #require(eventually(within: 20) { written.withLock { $0 } > last + 5 })
            load.set()
            writer.join()
            #expect(failure.withLock { $0 } == "")
            #expect(Mounts.at(mountpoint)?.minor == connection, "the same mount")
            #expect(eventually(within: 5) { manager.count("WATCHDOG=1") > 2 })

            try ChildProcess.check("umount", [mountpoint])
            let end = try #require(keeper.wait(seconds: 20))
            #expect(end.status == 0, "\(end.text)")
            #expect(manager.keptNames == [])
        }

        @Test func aDeadMountIsReplacedByAnother() throws {
            let first = try start()
            try awaitReady(1, first)
            let old = try #require(Mounts.at(mountpoint)?.minor)
            first.signal(SIGKILL)
            _ = first.wait(seconds: 10)
            Mounts.abort(connection: old)
            let second = try start()
            try awaitReady(2, second)
            #expect(try status("restarts") == 0, "a new mount")
            #expect(Mounts.all().count { $0.mountpoint == mountpoint } == 1)
            #expect(
                try Files.haveEqualContents("\(mountpoint)/disk", "\(backing)/disk"))
            try ChildProcess.check("umount", [mountpoint])
            #expect(second.wait(seconds: 20)?.status == 0)
        }

        @Test func whatIsNotThereIsWaitedForAndThenRefused() throws {
            try must { rename(backing, backing + "-away") }
            let keeper = try start()
            try #require(eventually(within: 10) { manager.count("STATUS=Waiting") > 0 })
            try must { rename(backing + "-away", backing) }
            try awaitReady(1, keeper)
            try ChildProcess.check("umount", [mountpoint])
            #expect(keeper.wait(seconds: 20)?.status == 0)

            try must { rename(backing, backing + "-away") }
            defer { rename(backing + "-away", backing) }
            let refused = try start()
            let end = try #require(refused.wait(seconds: 30))
            #expect(end.status == 1)
            #expect(end.errorOutput.contains("does not exist"), "\(end.text)")
            #expect(Mounts.at(mountpoint) == nil)
        }
    }
}
