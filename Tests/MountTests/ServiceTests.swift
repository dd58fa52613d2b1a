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
            // Without their mount they end by themselves.
            let left = { [mountpoint] in
                ProcessTable.all().filter { $0.arguments.contains(mountpoint) }
            }
            if !eventually(within: 5, { left().isEmpty }) {
                for process in left() { kill(process.pid, SIGKILL) }
            }
            for file in ["sock", "lock", "toml"] { unlink("/run/forebay/\(name).\(file)") }
        }

        private func start() throws -> ChildProcess {
            let options = "ram=16M,name=\(name),state=\(space.path("state"))"
            return try manager.start(
                ["mount", backing, mountpoint, "--foreground", "-o", options])
        }

        private func awaitReady(_ times: Int, _ process: ChildProcess) throws {
            try #require(
                eventually(within: 20) { manager.count("READY=1") >= times },
                "\(manager.count("READY=1")) of \(times): \(process.outputs)")
        }

        /// A process that writes stably and reads back, and counts in a file. Not a thread of this
        /// one, whose children would hold the file too and wait for the mount before they become
        /// its keeper.
        private func startLoad() throws -> ChildProcess {
            let script = """
                import os, sys
                file = os.open(sys.argv[1] + "/written", os.O_CREAT | os.O_RDWR | os.O_SYNC)
                count = 0
                while not os.path.exists(sys.argv[2] + "/stop"):
                    data = (b"%08d" % count) * 2000
                    os.pwrite(file, data, 0)
                    assert os.pread(file, len(data), 0) == data
                    count += 1
                    with open(sys.argv[2] + "/count", "w") as progress: progress.write(str(count))
                """
            return try ChildProcess("python3", ["-c", script, mountpoint, space.path])
        }

        private func awaitProgress(_ load: ChildProcess) throws {
            func count() -> Int {
                let bytes = (try? Files.read(space.path("count"))) ?? []
                return Int(String(decoding: bytes, as: UTF8.self)) ?? 0
            }
            let before = count()
            try #require(eventually(within: 20) { count() > before + 5 }, "\(load.outputs)")
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
            let load = try startLoad()
            for round in 1...3 {
                try awaitProgress(load)
                let server = try #require(try status("server_pid"))
                if round == 3 {
                    // Or the keeper may have replaced it before it dies itself.
                    keeper.signal(SIGSTOP)
                    kill(pid_t(server), SIGKILL)
                }
                keeper.signal(SIGKILL)
                _ = keeper.wait(seconds: 10)
                // Two servers must not answer the same requests.
                #expect(eventually(within: 5) { !ProcessTable.isAlive(pid_t(server)) })
                keeper = try start()
                try awaitReady(round + 1, keeper)
                #expect(try status("keeper_pid") == UInt64(keeper.pid))
                #expect(try status("restarts") == UInt64(round))
            }
            try awaitProgress(load)
            try Files.write(space.path("stop"), [])
            let written = try #require(load.wait(seconds: 20))
            #expect(written.status == 0, "\(written.text)")
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
