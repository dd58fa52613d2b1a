import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// The commands on a mount that serves.
    @Suite(.serialized, .enabled(if: Machine.canMount, "needs root and /dev/fuse"))
    struct CommandTests {
        private let space: TemporaryFolder
        private let backing: String

        init() throws {
            space = try TemporaryFolder("commands")
            backing = try space.makeFolder("backing")
            try Content.write(space.path("backing/disk"), seed: 7, count: 64)
        }

        @Test func mountServesAndUnmountLeavesNothing() throws {
            try withForebay(over: backing, options: ["ram=16M"]) { mount in
                let seen = try #require(Mounts.at(mount.path))
                #expect(seen.type == "fuse.forebay")
                #expect(seen.source == backing)
                #expect(try Files.haveEqualContents(mount.path("disk"), mount.backingPath("disk")))
                let pids = [try mount.keeperPid, try mount.serverPid]
                try mount.unmount()
                #expect(Mounts.at(mount.path) == nil)
                for pid in pids { #expect(!ProcessTable.isAlive(pid)) }
                for end in ["lock", "sock"] {
                    #expect(!Files.exists("/run/forebay/\(mount.name).\(end)"))
                }
                #expect(try Files.names(backing) == ["disk"])
            }
        }

        /// nice(7): -10 for each thread of the server, so that nothing else keeps clients waiting;
        /// sched(7): SCHED_BATCH, so that none interrupts a client that is asking.
        @Test func theServerGoesFirst() throws {
            try withForebay(over: backing, options: ["ram=16M"]) { mount in
                let one = __priority_which_t(PRIO_PROCESS.rawValue)
                // <sched.h> has SCHED_BATCH for C programs with extensions alone.
                let batch: Int32 = 3
                let tasks = try Files.names("/proc/\(try mount.serverPid)/task")
                for task in tasks.compactMap({ id_t($0) }) {
                    #expect(getpriority(one, task) <= -10)
                    #expect(sched_getscheduler(pid_t(task)) == batch)
                }
            }
        }

        @Test func aPlainUmountIsSafeAndAMountMayFollowAtOnce() throws {
            try withForebay(over: backing, options: ["ram=16M"]) { mount in
                for _ in 0..<3 {
                    try ChildProcess.check("umount", [mount.path])
                    try mount.mount()
                    #expect(
                        try Files.haveEqualContents(mount.path("disk"), mount.backingPath("disk")))
                }
            }
        }

        @Test func statusCarriesEveryNumber() throws {
            try withForebay(over: backing, options: ["ram=16M"]) { mount in
                _ = try Files.read(mount.path("disk"))
                let status = try mount.status()
                let statistics = try mount.statistics()
                #expect(statistics.keys.count >= 27)
                for key in statistics.keys where key != "uptime" {
                    #expect(status.keys.contains(key), "\(key)")
                }
                #expect(try #require(status.integer("reads")) > 0)
                #expect(status.integer("dirty_bytes") == 0)
                let table = try mount.command("status").output
                for word in [mount.path, backing, "healthy", "all data home", "yes"] {
                    #expect(table.contains(word), "\(word)")
                }
                let all = try ChildProcess.check(try Programs.forebay, ["status", "--json"]).output
                #expect(all.contains(mount.path))
            }
        }

        @Test func dropForgetsAndFlushReturns() throws {
            try withForebay(over: backing, options: ["ram=16M"]) { mount in
                _ = try Files.read(mount.path("disk"))
                // What was read enters the cache once the client has it.
                #expect(
                    eventually {
                        (try? mount.xattr("cached_bytes", of: "disk")) == "\(64 * 4096)"
                    })
                try mount.command("flush")
                try mount.command("flush", "disk", mount.path("disk"))
                try mount.command("drop", mount.path("disk"))
                #expect(try mount.xattr("cached_bytes", of: "disk") == "0")
                #expect(throws: TestFailure.self) { try mount.command("drop", "nowhere") }
                #expect(throws: TestFailure.self) { try mount.command("flush", backing) }
            }
        }

        @Test func aBusyMountStaysAndTellsWhatHoldsIt() throws {
            try withForebay(over: backing, options: ["ram=16M"]) { mount in
                let holder = try ChildProcess("sleep", ["60"])
                let open = try ChildProcess("tail", ["-f", mount.path("disk")])
                defer {
                    holder.kill()
                    open.kill()
                }
                try #require(eventually(within: 10) { hasOpen(open.pid, mount.path("disk")) })
                let result = try ChildProcess.run(try Programs.forebay, ["unmount", mount.path])
                #expect(result.status == 1)
                #expect(result.errorOutput.contains("\(open.pid) (tail)"), "\(result.text)")
                #expect(!result.errorOutput.contains("\(holder.pid) "))
                #expect(Mounts.at(mount.path) != nil)
                #expect(try Files.haveEqualContents(mount.path("disk"), mount.backingPath("disk")))
            }
        }

        private func hasOpen(_ pid: Int32, _ path: String) -> Bool {
            let folder = "/proc/\(pid)/fd"
            let names = (try? Files.names(folder)) ?? []
            return names.contains { name in
                var bytes = [CChar](repeating: 0, count: 4096)
                let count = readlink("\(folder)/\(name)", &bytes, bytes.count - 1)
                guard count > 0 else { return false }
                return bytes[..<count].elementsEqual(path.utf8.map { CChar(bitPattern: $0) })
            }
        }

        @Test func foregroundStaysUntilItIsTold() throws {
            let (mountpoint, state) = (try space.makeFolder("mount"), space.path("state"))
            let options = "ram=16M,name=foreground-\(getpid()),state=\(state)"
            let process = try ChildProcess(
                try Programs.forebay, ["mount", backing, mountpoint, "--foreground", "-o", options])
            defer { Mounts.removeAll(below: mountpoint) }
            try #require(eventually(within: 20) { Files.exists("\(mountpoint)/disk") })
            #expect(process.isRunning)
            process.signal(SIGTERM)
            let result = try #require(process.wait(seconds: 20))
            #expect(result.status == 0, "\(result.text)")
            #expect(Mounts.at(mountpoint) == nil)
        }

        @Test func deadProcessesAreTidiedUp() throws {
            try withForebay(over: backing, options: ["ram=16M"]) { mount in
                let pids = [try mount.keeperPid, try mount.serverPid]
                for pid in pids { kill(pid, SIGKILL) }
                try #require(eventually(within: 10) { !pids.contains { ProcessTable.isAlive($0) } })
                let again = try ChildProcess.run(
                    try Programs.forebay, ["mount", backing, mount.path, "-o", "ram=16M"])
                #expect(again.status == 1)
                try ChildProcess.check(try Programs.forebay, ["unmount", mount.path])
                #expect(!Files.exists("/run/forebay/\(mount.name).lock"))
                try mount.mount()
                #expect(try Files.haveEqualContents(mount.path("disk"), mount.backingPath("disk")))
            }
        }

        @Test func statusAnswersWhileTheDatastoreHangs() throws {
            try withForebay(options: ["ram=16M"]) { mount, datastore in
                try datastore.hang()
                defer { _ = try? datastore.heal() }
                #expect(try mount.status().integer("dirty_bytes") == 0)
            }
        }

        @Test func anUnmountThatCannotFlushStaysMounted() throws {
            try withForebay(options: ["ram=16M"]) { mount, datastore in
                try Files.write(mount.path("file"), "contents")
                try datastore.hang()
                defer { _ = try? datastore.heal() }
                let hung = try ChildProcess.run(
                    try Programs.forebay, ["unmount", mount.path, "--timeout", "2"])
                #expect(hung.status == 1, "\(hung.text)")
                #expect(Mounts.at(mount.path) != nil)
                try datastore.heal()
                try mount.unmount()
                #expect(try Files.text(datastore.folderPath("file")) == "contents")
            }
        }

        @Test func aDatastoreThatHangsIsNotMounted() throws {
            let mountpoint = try space.makeFolder("mountpoint")
            try withDatastore { datastore in
                try datastore.hang()
                defer { _ = try? datastore.heal() }
                let options = "ram=16M,state=\(space.path("state"))"
                let result = try ChildProcess.run(
                    try Programs.forebay, ["mount", datastore.path, mountpoint, "-o", options])
                #expect(result.status == 1)
                #expect(result.errorOutput.contains("does not answer"), "\(result.text)")
                #expect(Mounts.at(mountpoint) == nil)
            }
        }

        @Test func preflightTellsEachRequirement() throws {
            let mountpoint = try space.makeFolder("mountpoint")
            let good = try ChildProcess.check(
                try Programs.forebay, ["preflight", backing, mountpoint, "-o", "ram=16M", "--json"])
            #expect(good.output.hasPrefix("{") && good.output.contains("\"checks\":["))
            let bad = try ChildProcess.run(
                try Programs.forebay, ["preflight", backing, "\(mountpoint)/nowhere"])
            #expect(bad.status == 1)
            #expect(bad.output.contains("FAIL  mountpoint"))
            #expect(bad.output.contains("mkdir -p"))
            #expect(Mounts.at(mountpoint) == nil)
        }
    }
}
