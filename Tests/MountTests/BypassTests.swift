import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// The cache is left out of the way: by command, or because servers crash.
    @Suite(.serialized) struct BypassTests {
        private let contents = Content.blocks(seed: 1, count: 256)

        private func withMount(
            _ body: (ForebayMount, TestDatastore) throws -> Void
        ) throws {
            try withForebay(
                prepare: { try Content.write($0.folderPath("file"), seed: 1, count: 256) }, body)
        }

        private func health(_ mount: ForebayMount) throws -> String { try mount.xattr("health") }

        /// Reads come from the datastore, and what is written meanwhile is never seen as it was.
        @Test func byCommand() throws {
            try withMount { mount, datastore in
                let path = mount.path("file")
                #expect(try readDirect(path) == contents)
                try mount.command("bypass", "on")
                #expect(try health(mount) == "bypass: by command")
                #expect(try mount.status().text("bypass") == "on")
                let before = try Numbers(mount)
                try datastore.resetCounts()
                for _ in 0..<2 { #expect(try readDirect(path) == contents) }
                let after = try Numbers(mount)
                #expect(after.grown("bypassed", since: before) == 2 * 256)
                #expect(after.grown("hits_ram", since: before) == 0)
                #expect(after.grown("misses", since: before) == 0)
                #expect(try datastore.counts().readBytes >= 2 * 256 * 4096)

                let file = try OpenFile(path, O_RDWR)
                var expected = contents
                let fresh = Content.blocks(seed: 2, count: 3)
                try file.write(fresh, at: 10_000)
                expected.replaceSubrange(10_000..<(10_000 + fresh.count), with: fresh)
                #expect(try readDirect(path) == expected)
                try mount.command("bypass", "off")
                #expect(try health(mount) == "healthy")
                #expect(try readDirect(path) == expected)
                let warm = try Numbers(mount)
                #expect(try readDirect(path) == expected)
                let end = try Numbers(mount)
                #expect(end.grown("hits_ram", since: warm) == 256)
                #expect(end.grown("bypassed", since: warm) == 0)
                #expect(try mount.xattr("restarts") == "0")
            }
        }

        /// Whoever asked for it ends it; the death of a server does not.
        @Test func itOutlivesServers() throws {
            try withMount { mount, _ in
                let load = try Load(mount.path)
                defer { load.stop() }
                try mount.command("bypass", "on")
                let server = try mount.serverPid
                try must { kill(server, SIGKILL) }
                #expect(eventually { (try? mount.serverPid).map { $0 != server } ?? false })
                #expect(try health(mount) == "bypass: by command")
                let before = try Numbers(mount)
                #expect(try readDirect(mount.path("file")) == contents)
                #expect(try Numbers(mount).grown("hits_ram", since: before) == 0)
                try mount.command("bypass", "off")
                #expect(try health(mount) == "healthy")
                // What is read while a server still takes over may not enter the cache.
                let isCached = try eventually {
                    #expect(try readDirect(mount.path("file")) == contents)
                    return try Numbers(mount, "file")["cached_bytes"] == contents.count
                }
                #expect(isCached)
                load.stop()
                #expect(load.failures == [])
                for arguments in [["on", "off"], ["maybe"], []] {
                    let result = try ChildProcess.run(
                        mount.program, ["bypass", mount.path] + arguments)
                    #expect(result.status == 2)
                }
            }
        }

        /// Kills the server by a signal and waits for the next one.
        private func end(_ mount: ForebayMount, by signal: Int32) throws {
            let server = try mount.serverPid
            try must { Glibc.kill(server, signal) }
            try #require(eventually { (try? mount.serverPid).map { $0 != server } ?? false })
        }

        /// Two crashes within seconds and nothing to blame: the next server does without the cache,
        /// and after a while the full one is tried again. Nobody gets an error meanwhile.
        @Test func serversThatCrash() throws {
            try withMount { mount, datastore in
                let path = mount.path("file")
                #expect(try readDirect(path) == contents)
                try end(mount, by: SIGSEGV)
                #expect(try health(mount) == "healthy", "one crash is not enough")
                try end(mount, by: SIGABRT)
                #expect(try health(mount).hasPrefix("bypass: the server crashed"))
                #expect(try mount.status().text("bypass") == "automatic")
                try expectNoCacheMemory(mount)
                let load = try Load(mount.path)
                defer { load.stop() }
                let before = try Numbers(mount)
                #expect(try readDirect(path) == contents)
                #expect(try Numbers(mount).grown("bypassed", since: before) >= 256)
                #expect(try Numbers(mount).grown("hits_ram", since: before) == 0)
                let fresh = Content.blocks(seed: 3, count: 256)
                try OpenFile(path, O_WRONLY).write(fresh, at: 0)
                #expect(try health(mount).hasPrefix("bypass"), "it is still on")

                #expect(eventually(within: 30) { (try? health(mount)) == "healthy" })
                #expect(try mount.status().text("bypass") == "off")
                #expect(try readDirect(path) == fresh)
                let warm = try Numbers(mount)
                #expect(try readDirect(path) == fresh)
                let end = try Numbers(mount)
                #expect(end.grown("hits_ram", since: warm) >= 256)
                #expect(try mount.xattr("restarts") == "3")
                #expect(try #require(try mount.status().number("last_pause")) < 2)
                let progress = load.steps
                #expect(eventually { load.steps > progress + 5 })
                load.stop()
                #expect(load.failures == [])
            }
        }

        /// The server has not even mapped the memory of the cache.
        private func expectNoCacheMemory(_ mount: ForebayMount) throws {
            let maps = try Files.text("/proc/\(try mount.serverPid)/maps")
            #expect(maps.contains("forebay-slots"))
            let frames = maps.split(separator: "\n").filter { $0.contains("forebay-frames") }
            // Its own, of the smallest size, is all that there may be.
            for line in frames {
                let ends = line.prefix { $0 != " " }.split(separator: "-")
                let bounds = ends.compactMap { UInt64($0, radix: 16) }
                try #require(bounds.count == 2)
                #expect(bounds[1] - bounds[0] <= 8 << 20, "\(line)")
            }
        }

        /// Commands change an automatic bypass: it is made to stay, and ended at once.
        @Test func commandsWin() throws {
            try withMount { mount, _ in
                for _ in 0..<2 { try end(mount, by: SIGSEGV) }
                #expect(try health(mount).hasPrefix("bypass: the server crashed"))
                try mount.command("bypass", "on")
                #expect(try health(mount) == "bypass: by command")
                try mount.command("bypass", "off")
                #expect(try health(mount) == "healthy")
                for _ in 0..<2 { #expect(try readDirect(mount.path("file")) == contents) }
                #expect(try Numbers(mount, "file")["cached_bytes"] == contents.count)
            }
        }

        /// Signals from outside are no crashes, however many come.
        @Test func killsAreNoReason() throws {
            try withMount { mount, _ in
                for round in 0..<6 { try end(mount, by: round % 2 == 0 ? SIGKILL : SIGTERM) }
                #expect(try health(mount) == "healthy")
                // What is read while a server still takes over may not enter the cache.
                let isCached = try eventually {
                    #expect(try readDirect(mount.path("file")) == contents)
                    return try Numbers(mount, "file")["cached_bytes"] == contents.count
                }
                #expect(isCached)
            }
        }
    }
}
