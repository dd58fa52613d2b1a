import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// Writes that are answered from a log, on mounts whose servers and datastores fail.
    @Suite(.serialized) struct JournalTests {
        private static let isLong = getenv("FOREBAY_TEST_LONG") != nil

        /// Everything uses the mount while its servers are killed; in the end the datastore has all
        /// of it.
        @Test func killsUnderLoad() throws {
            let kills = Self.isLong ? 300 : 12
            try withLog(options: ["destage_delay=0.2"]) { mount, datastore, _ in
                let load = try Workload.mixed(mount.path)
                defer { load.stop() }
                let killer = try Killer(mount)
                var random = SplitMix64.announced()
                var dirty: UInt64 = 0
                #expect(load.progresses(by: 2), "\(load.failures)")
                for _ in 0..<kills {
                    sleep(milliseconds: UInt64.random(in: 0..<300, using: &random))
                    dirty = max(dirty, UInt64(try mount.xattr("dirty_bytes")) ?? 0)
                    let restarts = killer.restarts
                    try killer.kill(SIGKILL)
                    try #require(killer.awaitSuccessor(since: restarts))
                    try #require(load.progresses(), "\(load.failures)")
                }
                load.stop()
                #expect(load.failures == [])
                #expect(dirty > 0, "something was in the log alone")
                killer.expectKillsCounted()
                try mount.command("flush")
                #expect(try mount.xattr("dirty_bytes") == "0")
                #expect(try Files.names(mount.path) == Files.names(datastore.folder))
                for name in ["stable-0", "stable-1", "buffered-0", "buffered-1"] {
                    #expect(
                        try Files.haveEqualContents(mount.path(name), datastore.folderPath(name)))
                }
            }
        }

        /// What was answered at all survives the death of server and keeper, synced or not.
        @Test func deathOfEveryProcess() throws {
            try withLog(options: ["destage_delay=3600"]) { mount, datastore, _ in
                let blocks = Content.blocks(seed: 5, count: 256)
                do {
                    let flags = O_RDWR | O_CREAT | OpenFile.direct
                    try OpenFile(mount.path("disk"), flags).write(blocks, at: 0)
                }
                #expect(try Files.read(datastore.folderPath("disk")).isEmpty)
                for process in mount.processes() { kill(process.pid, SIGKILL) }
                Mounts.removeAll(below: mount.path)
                try #require(eventually { mount.processes().isEmpty })
                try mount.mount()
                #expect(try mount.xattr("dirty_bytes") == "\(blocks.count)")
                #expect(try readDirect(mount.path("disk")) == blocks)
                try mount.command("flush")
                #expect(try Files.read(datastore.folderPath("disk")) == blocks)
            }
        }

        /// The datastore answers nothing, and writes go on, durable ones too.
        @Test func hungDatastore() throws {
            try withLog(options: ["destage_delay=0.1"]) { mount, datastore, _ in
                let blocks = Content.blocks(seed: 6, count: 64)
                let flags = O_RDWR | O_CREAT | OpenFile.direct | O_DSYNC
                let file = try OpenFile(mount.path("disk"), flags)
                // The first fsync of a file asks the datastore, which may have old writes of it.
                try file.write(blocks, at: 0)
                try datastore.hang()
                for number in 1..<50 { try file.write(blocks, at: UInt64(number * blocks.count)) }
                let seen = try file.read(at: UInt64(49 * blocks.count), count: blocks.count)
                #expect(seen == blocks)
                try datastore.unhang()
                try mount.command("flush")
                #expect(try Files.read(datastore.folderPath("disk")).count == 50 * blocks.count)
            }
        }

        /// An administrator who unmounts finds everything on the datastore; a plain umount leaves
        /// what is in the log there, and the mount is refused without it.
        @Test func unmounting() throws {
            try withLog(options: ["destage_delay=3600"]) { mount, datastore, log in
                let blocks = Content.blocks(seed: 7, count: 16)
                try Files.write(mount.path("disk"), blocks)
                try mount.unmount()
                #expect(try Files.read(datastore.folderPath("disk")) == blocks)
                try mount.mount()
                try Files.write(mount.path("other"), blocks)
                try ChildProcess.check("umount", [mount.path])
                try #require(eventually { mount.processes().isEmpty })
                #expect(try Files.read(datastore.folderPath("other")).isEmpty)
                let refused = try ChildProcess.run(
                    try Programs.forebay,
                    [
                        "mount", mount.backing, mount.path, "-o",
                        "name=\(mount.name),state=\(mount.state),ram=16M",
                    ])
                #expect(refused.status == 1)
                #expect(refused.text.contains(log), "\(refused.text)")
                try mount.mount()
                #expect(try Files.read(mount.path("other")) == blocks)
            }
        }

        /// A full log slows writers to what the datastore takes, and loses nothing.
        @Test func fullLog() throws {
            try withLog(size: 32 << 20, options: ["destage_delay=0"]) { mount, datastore, _ in
                try datastore.setBandwidth(40 << 20)
                let blocks = Content.blocks(seed: 8, count: 256)
                let flags = O_RDWR | O_CREAT | OpenFile.direct
                for number in 0..<120 {
                    try OpenFile(mount.path("disk"), flags)
                        .write(blocks, at: UInt64(number * blocks.count))
                }
                try datastore.setBandwidth(0)
                try mount.command("flush")
                let stored = try Files.read(datastore.folderPath("disk"))
                #expect(stored.count == 120 * blocks.count)
                #expect(Array(stored.suffix(blocks.count)) == blocks)
            }
        }

        /// Four files under every kind of access, with the tests of files that POSIX has.
        @Test func everyOperation() throws {
            var seeds = SplitMix64.announced()
            let all = (0..<4).map { _ in seeds.next() }
            let options = ["destage_delay=0.3"]
            try withLog(size: 128 << 20, options: options) { mount, datastore, _ in
                for path in [datastore.folder, datastore.path + "/..", mount.path + "/.."] {
                    try must { chmod(path, 0o755) }
                }
                let place = Place(folder: mount.path, backing: datastore.folder)
                try Place.$current.withValue(place) {
                    let folder = try TestFolder()
                    let path = folder.path
                    try concurrently(4) { number in
                        try Place.$current.withValue(place) {
                            let kind = Exerciser.Kind(unaligned: true, range: 0..<150 * 4096)
                            var exerciser = try Exerciser(
                                "\(path)/file-\(number)", kind: kind, seed: all[number])
                            try exerciser.run(Self.isLong ? 10_000 : 500)
                        }
                    }
                    #expect(try Numbers(mount)["hits_dirty"] > 0)
                    try mount.command("flush")
                    for number in 0..<4 {
                        let file = "\(path.dropFirst(mount.path.count))/file-\(number)"
                        #expect(
                            try Files.haveEqualContents(
                                mount.path + file, datastore.folder + file))
                    }
                    try PosixTests.PosixFileTests().removedWhileOpen()
                    try PosixTests.PosixMappingTests().mappingAndTruncation()
                    try PosixTests.PosixMappingTests().directAndBufferedTogether()
                    // The blocks of a file are the datastore's: they change as data comes home.
                    try mount.command("set", "destage_delay=3600")
                    try PosixTests.PosixSpaceTests().holes()
                    try PosixTests.PosixSpaceTests().zeroing()
                    try PosixTests.PosixSpaceTests().farOffsets()
                    try PosixTests.PosixSpaceTests().copyingInTheKernel()
                }
            }
        }
    }
}

/// Runs `body` with a mount that answers writes from a log, over a datastore that misbehaves when
/// told to; the last argument is the log's path.
func withLog<Result>(
    size: Int = 64 << 20, options: [String] = [],
    _ body: (ForebayMount, TestDatastore, String) throws -> Result
) throws -> Result {
    let space = try TemporaryFolder("log")
    let log = space.path("log")
    let given = ["ram=16M", "log=\(log):\(size >> 20)M", "write=back"] + options
    return try withForebay(options: given) { mount, datastore in
        defer { _ = try? datastore.heal() }
        return try body(mount, datastore, log)
    }
}
