import CLinux
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What was cached when a server died is cached for its successor.
    @Suite(.serialized) struct WarmTests {
        private let contents = Content.blocks(seed: 1, count: 2048)

        private func withCached(
            _ body: (ForebayMount, TestDatastore) throws -> Void
        ) throws {
            try withForebay(
                prepare: { try Content.write($0.folderPath("disk"), seed: 1, count: 2048) }
            ) { mount, datastore in
                #expect(try readDirect(mount.path("disk")) == contents)
                try body(mount, datastore)
            }
        }

        private func replaceServer(_ mount: ForebayMount) throws {
            let server = try mount.serverPid
            try must { kill(server, SIGKILL) }
            #expect(try eventually { try mount.serverPid != server })
        }

        @Test func killsLeaveTheCacheWarm() throws {
            try withCached { mount, datastore in
                let before = try Numbers(mount)
                for _ in 0..<3 {
                    try replaceServer(mount)
                    try datastore.resetCounts()
                    let reads = try Numbers(mount)
                    #expect(try readDirect(mount.path("disk")) == contents)
                    #expect(try datastore.counts()["read"] == 0)
                    let after = try Numbers(mount)
                    #expect(after.grown("backend_reads", since: reads) == 0)
                    #expect(after.grown("hits_ram", since: reads) == 2048)
                    #expect(after["cached_bytes"] == before["cached_bytes"])
                }
            }
        }

        /// A machine's disk: open all the time, written while the server dies.
        @Test func aFileThatIsWrittenStaysWarm() throws {
            try withCached { mount, datastore in
                var model = contents
                let file = try TestFile(mount.path("disk"), O_RDWR | CLinux_O_DIRECT | O_DSYNC)
                var random = SplitMix64(seed: 3)
                let buffer = AlignedBuffer(4096)
                var written: Set<Int> = []
                for round in 0..<5 as Range<UInt64> {
                    for number in 0..<20 as Range<UInt64> {
                        // Only here, so that the rest can be counted.
                        let block = Int.random(in: 0..<200, using: &random)
                        let bytes = Content.block(seed: 10 + round, number: number)
                        buffer.bytes.copyBytes(from: bytes)
                        if number == 10 {
                            let server = try mount.serverPid
                            try must { kill(server, SIGKILL) }
                        }
                        let done = try must {
                            pwrite(
                                file.raw, buffer.bytes.baseAddress, 4096, off_t(block * 4096))
                        }
                        #expect(done == 4096)
                        model.replaceSubrange(block * 4096..<(block + 1) * 4096, with: bytes)
                        written.insert(block)
                    }
                    let before = try Numbers(mount)
                    #expect(try readDirect(mount.path("disk")) == model)
                    let after = try Numbers(mount)
                    #expect(after.grown("misses", since: before) <= 20)
                    #expect(after.grown("hits_ram", since: before) >= 2028)
                }
                #expect(try Files.read(datastore.folderPath("disk")) == model)
                #expect(try mount.xattr("restarts") == "5")
            }
        }

        /// While no server runs, somebody else changes the file on the datastore.
        @Test func aChangeWhileNoServerRanIsSeen() throws {
            try withCached { mount, datastore in
                try Content.write(datastore.folderPath("other"), seed: 1, count: 2048)
                _ = try readDirect(mount.path("other"))
                let (keeper, server) = (try mount.keeperPid, try mount.serverPid)
                try must { kill(keeper, SIGSTOP) }
                defer { kill(keeper, SIGCONT) }
                try must { kill(server, SIGKILL) }
                let fresh = Content.block(seed: 2, number: 0)
                let path = datastore.folderPath("disk")
                let times = try Files.attributes(path)
                let file = try OpenFile(path, O_WRONLY)
                _ = try eventually {
                    try file.write(fresh, at: 700 * 4096)
                    return try Files.attributes(path).changed_nanoseconds
                        != times.changed_nanoseconds
                }
                try must { kill(keeper, SIGCONT) }
                #expect(try eventually { try mount.serverPid != server })
                var expected = contents
                expected.replaceSubrange(700 * 4096..<701 * 4096, with: fresh)
                #expect(try readDirect(mount.path("disk")) == expected)
                let before = try Numbers(mount)
                #expect(try readDirect(mount.path("other")) == contents)
                #expect(try Numbers(mount).grown("backend_reads", since: before) == 0)
            }
        }
    }
}
