import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// `forebay upgrade`: another version of the program goes on with the mount.
    @Suite(.serialized) struct UpgradeTests {
        private let installation: Installation

        init() throws { installation = try Installation() }

        /// Runs `body` on a mount made by the installation, over a datastore with a known file.
        private func withMount(
            _ body: (ForebayMount, TestDatastore) throws -> Void
        ) throws {
            try withForebay(
                program: installation.forebay,
                prepare: { try Content.write($0.folderPath("cached"), seed: 1, count: 256) },
                body)
        }

        /// fio, writing and verifying for some seconds.
        private func verifier(_ folder: String) throws -> ChildProcess {
            try ChildProcess(
                "sh",
                [
                    "-c", "cd \"$0\" && exec fio \"$@\"", folder, "--name=upgrade", "--size=4M",
                    "--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=libaio", "--iodepth=8",
                    "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=64", "--time_based",
                    "--runtime=5", "--output-format=terse",
                ])
        }

        @Test func underLoad() throws {
            try withMount { mount, datastore in
                let first = try mount.xattr("version")
                let second = first.dropLast() + (first.hasSuffix("9") ? "8" : "9")
                let expected = Content.blocks(seed: 1, count: 256)
                #expect(try readDirect(mount.path("cached")) == expected)
                let load = try Load(mount.path)
                defer { load.stop() }
                let fio = try verifier(mount.path)
                let keeper = try mount.keeperPid
                var upgrades = 0
                for (old, new) in [(first, String(second)), (String(second), first)] {
                    try installation.replace("\(old)\0", by: "\(new)\0")
                    #expect(!installation.isRun(by: keeper))
                    let progress = load.steps
                    #expect(eventually { load.steps > progress + 10 })
                    try #require(fio.isRunning, "fio writes")
                    let text = try mount.command("upgrade").output
                    upgrades += 1
                    #expect(
                        text.contains("version \(old) handed over to version \(new)"), "\(text)")
                    let status = try mount.status()
                    let pause = try #require(status.number("last_pause"))
                    print("upgrade under load: pause \(pause) s")
                    #expect(pause > 0 && pause < 1)
                    #expect(status.integer("restarts") == UInt64(upgrades))
                    #expect(status.text("version") == new)
                    #expect(try mount.xattr("version") == new)
                    #expect(try mount.keeperPid == keeper, "the same process")
                    #expect(installation.isRun(by: keeper))
                    #expect(installation.isRun(by: try mount.serverPid))
                    let cold = try Numbers(mount, "cached")
                    #expect(try readDirect(mount.path("cached")) == expected)
                    let warm = try Numbers(mount, "cached")
                    #expect(warm.grown("misses", since: cold) == 0, "the cache is as it was")
                    #expect(warm.grown("hits_ram", since: cold) == 256)
                }
                let result = try #require(fio.wait(seconds: 60))
                #expect(result.status == 0, "\(result.text)")
                let progress = load.steps
                #expect(eventually { load.steps > progress + 10 })
                load.stop()
                #expect(load.failures == [])
                #expect(try Files.names(mount.path) == Files.names(datastore.folder))
                try mount.unmount()
            }
        }

        /// Expects that an upgrade fails for `reason` and that nothing has changed.
        private func expectRefusal(_ reason: String, _ mount: ForebayMount) throws {
            let load = try Load(mount.path)
            defer { load.stop() }
            let server = try mount.serverPid
            let result = try mount.attempt("upgrade")
            #expect(result.status == 1)
            #expect(result.errorOutput.hasPrefix("forebay: \(installation.server): "))
            #expect(result.errorOutput.contains(reason), "\(result.text)")
            let progress = load.steps
            #expect(eventually { load.steps > progress + 5 })
            load.stop()
            #expect(load.failures == [])
            #expect(try mount.serverPid == server)
            #expect(try mount.xattr("restarts") == "0")
        }

        /// A program that cannot go on is found out before the one that serves stops.
        @Test func programsThatCannotGoOnAreRefused() throws {
            let good = try Files.read(installation.server)
            try withMount { mount, _ in
                try installation.replace("FBSLOTS1", by: "FBSLOTS9")
                try expectRefusal("request slots: are of another version", mount)
                let scripts = [
                    ("exit 0", "said nothing"), ("exit 3", "exit(3)"),
                    ("echo something is missing >&2; exit 127", "something is missing"),
                    ("kill -9 $$", "signal(9)"),
                ]
                for (script, reason) in scripts {
                    try installation.replace(with: Array("#!/bin/sh\n\(script)\n".utf8))
                    try expectRefusal(reason, mount)
                }
                try installation.replace(with: Array("junk".utf8))
                try expectRefusal("Exec format error", mount)
                try installation.replace(with: good, mode: 0o644)
                try expectRefusal("is not there to be run", mount)
                try must { unlink(installation.server) }
                try expectRefusal("is not there to be run", mount)
                try installation.replace(with: good)
                try mount.command("upgrade")
                #expect(installation.isRun(by: try mount.keeperPid))
            }
        }

        /// The state folder may be of a version that the other program does not know.
        @Test func stateOfAnotherVersionIsRefused() throws {
            try withMount { mount, _ in
                let database = "\(mount.state)/identity.db"
                func setVersion(_ version: String) throws {
                    try ChildProcess.check(
                        "python3",
                        [
                            "-c",
                            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=10); "
                                + "c.execute(\"UPDATE meta SET value=? WHERE key='version'\", "
                                + "(bytes([int(sys.argv[2])]),)); c.commit()", database, version,
                        ])
                }
                try setVersion("9")
                try expectRefusal("identity.db: is of another version", mount)
                try setVersion("1")
                try mount.command("upgrade")
            }
        }

        /// The program may go away between its answer and its start: the old one goes on.
        @Test func theOldVersionGoesOnWhenTheNewOneDoesNotStart() throws {
            try withMount { mount, _ in
                let keeper = try mount.keeperPid
                let load = try Load(mount.path)
                defer { load.stop() }
                let script = "#!/bin/sh\necho ready 9.9.9\nrm \"$0\"\n"
                try installation.replace(with: Array(script.utf8))
                let result = try mount.attempt("upgrade")
                #expect(result.status == 1)
                #expect(result.errorOutput.contains("the old version goes on"), "\(result.text)")
                let progress = load.steps
                #expect(eventually { load.steps > progress + 5 })
                load.stop()
                #expect(load.failures == [])
                #expect(try mount.keeperPid == keeper)
                #expect(try mount.xattr("restarts") == "1")
            }
        }

        /// Whoever ends the server gently takes nothing away, and that is no crash.
        @Test func terminationHandsOver() throws {
            try withMount { mount, _ in
                let load = try Load(mount.path)
                defer { load.stop() }
                for round in 1...6 {
                    let progress = load.steps
                    #expect(eventually { load.steps > progress + 5 })
                    let server = try mount.serverPid
                    try must { kill(server, SIGTERM) }
                    #expect(
                        eventually {
                            (try? mount.status().integer("restarts")) == UInt64(round)
                        })
                }
                load.stop()
                #expect(load.failures == [])
                let status = try mount.status()
                #expect(status.text("health") == "healthy")
                #expect(try #require(status.number("last_pause")) < 1)
            }
        }

        @Test func byName() throws {
            try withMount { mount, _ in
                let result = try ChildProcess.run(
                    mount.program, ["upgrade", "--name", mount.name])
                #expect(result.status == 0, "\(result.text)")
                #expect(try mount.xattr("restarts") == "1")
                for arguments in [[], [mount.path, "--name", mount.name]] {
                    let wrong = try ChildProcess.run(mount.program, ["upgrade"] + arguments)
                    #expect(wrong.status == 2)
                }
                let unknown = try ChildProcess.run(mount.program, ["upgrade", "--name", "none"])
                #expect(unknown.status == 1)
            }
        }
    }
}
