import CLinux
import CPosix
import Glibc
import Syscalls
import Testing

extension PosixTests {
    /// Modes and times: what each operation changes and what it leaves alone.
    @Suite struct PosixAttributeTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        /// Long enough for the datastore's clock to move on.
        private func tick() { usleep(15_000) }

        @Test(arguments: [0o000, 0o111, 0o640, 0o777, 0o1777, 0o4755, 0o2755, 0o7777] as [UInt32])
        func modes(mode: UInt32) throws {
            let file = try folder.file("file")
            let directory = try folder.directory("directory")
            for path in [file, directory] {
                try must { chmod(path, mode) }
                #expect(try status(path).permissions == mode)
            }
            let opened = try TestFile(file, O_RDWR)
            try must { fchmod(opened.raw, 0o600) }
            try must { fchmod(opened.raw, mode) }
            #expect(try status(of: opened).permissions == mode)
        }

        /// The umask takes bits from what is made, not from what is changed.
        @Test(arguments: [0o000, 0o022, 0o077, 0o777] as [UInt32])
        func umask(mask: UInt32) throws {
            let results = try asUser(umask: mask) {
                [
                    failure {
                        let raw = CLinux_open(folder("file"), O_CREAT | O_RDWR, 0o6777)
                        return raw < 0 ? raw : close(raw)
                    },
                    failure { mkdir(folder("directory"), 0o1777) },
                    failure { mkfifo(folder("fifo"), 0o666) },
                    failure { mknod(folder("node"), UInt32(S_IFREG) | 0o666, 0) },
                    failure { symlink("target", folder("symlink")) },
                ]
            }
            #expect(results.allSatisfy { $0 == nil })
            #expect(try status(folder("file")).permissions == 0o6777 & ~mask)
            #expect(try status(folder("directory")).permissions == 0o1777 & ~mask)
            #expect(try status(folder("fifo")).permissions == 0o666 & ~mask)
            #expect(try status(folder("node")).permissions == 0o666 & ~mask)
            #expect(try status(folder("symlink")).permissions == 0o777)
        }

        @Test(
            arguments: [
                (0, 0), (1_000_000_000, 123_456_789), (-1, 999_999_999), (1, 1),
                (4_294_967_296, 999_999_999), (2_147_483_648, 0),
            ] as [(Int64, Int64)])
        func exactTimes(seconds: Int64, nanoseconds: Int64) throws {
            let file = try folder.file("file")
            let directory = try folder.directory("directory")
            try must { symlink("target", folder("symlink")) }
            for path in [file, directory, folder("symlink")] {
                try must {
                    CPosix_utimens(
                        AT_FDCWD, path, seconds, nanoseconds, seconds + 7, nanoseconds,
                        AT_SYMLINK_NOFOLLOW)
                }
                let found = try status(path)
                let expected = UInt32(nanoseconds)
                #expect(found.accessed == FileTime(seconds: seconds, nanoseconds: expected))
                #expect(found.modified == FileTime(seconds: seconds + 7, nanoseconds: expected))
            }
        }

        @Test func omittedAndPresentTimes() throws {
            let file = try folder.file("file")
            let omit = Int64(CPosix_UTIME_OMIT)
            let now = Int64(CPosix_UTIME_NOW)
            try must { CPosix_utimens(AT_FDCWD, file, 100, 1, 200, 2, 0) }
            let first = try status(file)
            tick()
            try must { CPosix_utimens(AT_FDCWD, file, 300, 3, 0, omit, 0) }
            let second = try status(file)
            #expect(second.accessed == FileTime(seconds: 300, nanoseconds: 3))
            #expect(second.modified == first.modified)
            #expect(second.changed > first.changed)
            try must { CPosix_utimens(AT_FDCWD, file, 0, omit, 400, 4, 0) }
            let third = try status(file)
            #expect(third.accessed == second.accessed)
            #expect(third.modified == FileTime(seconds: 400, nanoseconds: 4))
            var clock = timespec()
            clock_gettime(CLOCK_REALTIME, &clock)
            try must { CPosix_utimens(AT_FDCWD, file, 0, now, 0, omit, 0) }
            let fourth = try status(file)
            #expect(abs(fourth.accessed.seconds - Int64(clock.tv_sec)) <= 5)
            #expect(fourth.modified == third.modified)
            let opened = try TestFile(file, O_RDWR)
            try must { CPosix_utimens(opened.raw, nil, 0, omit, 0, now, 0) }
            let fifth = try status(of: opened)
            #expect(abs(fifth.modified.seconds - Int64(clock.tv_sec)) <= 5)
            #expect(fifth.accessed == fourth.accessed)
            // Both omitted changes nothing, not even the time of change.
            let before = try status(file)
            tick()
            try must { CPosix_utimens(AT_FDCWD, file, 0, omit, 0, omit, 0) }
            #expect(try status(file).changed == before.changed)
            expect(.invalid) { CPosix_utimens(AT_FDCWD, file, 0, 1_000_000_000, 0, 0, 0) }
        }

        /// What each call does to the times of a file.
        @Test func timesOfFiles() throws {
            let file = try folder.file("file", pattern(8192))
            func expectChange(
                modified: Bool, sourceLocation: SourceLocation = #_sourceLocation,
                _ body: () throws -> Void
            ) throws {
                let before = try status(file)
                tick()
                try body()
                let after = try status(file)
                #expect(after.changed > before.changed, sourceLocation: sourceLocation)
                #expect(
                    (after.modified > before.modified) == modified, sourceLocation: sourceLocation)
            }
            let opened = try TestFile(file, O_RDWR)
            try expectChange(modified: true) { try opened.write([1], at: 0) }
            try expectChange(modified: true) { try must { ftruncate(opened.raw, 100) } }
            try expectChange(modified: true) { try must { ftruncate(opened.raw, 20_000) } }
            try expectChange(modified: true) { try must { truncate(file, 20_001) } }
            try expectChange(modified: true) { try put([1, 2, 3], in: file) }
            try expectChange(modified: false) { try must { chmod(file, 0o640) } }
            try expectChange(modified: false) { try must { chown(file, User.first, User.first) } }
            try expectChange(modified: false) { try must { link(file, folder("link")) } }
            try expectChange(modified: false) { try must { unlink(folder("link")) } }
            try expectChange(modified: false) {
                try must { CPosix_setxattr(file, "user.test", "v", 1, 0) }
            }
            try expectChange(modified: false) {
                try must { CPosix_removexattr(file, "user.test") }
            }
            try expectChange(modified: true) {
                try must { CLinux_fallocate(opened.raw, 0, 0, 100_000) }
            }
        }

        /// Reading, asking and writing nothing change neither mtime nor ctime.
        @Test func timesThatStay() throws {
            let file = try folder.file("file", pattern(8192))
            let before = try status(file)
            tick()
            let opened = try TestFile(file, O_RDWR)
            _ = try opened.read(8192)
            try must { pwrite(opened.raw, "", 0, 0) }
            try must { fsync(opened.raw) }
            try must { access(file, R_OK | W_OK) }
            expect(.noEntry) { unlink(folder("other")) }
            opened.close()
            let after = try status(file)
            #expect(after.modified == before.modified && after.changed == before.changed)
            #expect(after.size == before.size)
        }

        /// What each call does to the times of the directory that holds the name.
        @Test func timesOfParents() throws {
            let parent = try folder.directory("parent")
            let outside = try folder.file("outside")
            func expectChange(
                sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
            ) throws {
                let before = try status(parent)
                tick()
                try body()
                let after = try status(parent)
                #expect(after.modified > before.modified, sourceLocation: sourceLocation)
                #expect(after.changed > before.changed, sourceLocation: sourceLocation)
            }
            let name = parent + "/name"
            try expectChange { try put([], in: name) }
            try expectChange { try must { unlink(name) } }
            try expectChange { try must { mkdir(name, 0o755) } }
            try expectChange { try must { rmdir(name) } }
            try expectChange { try must { symlink("target", name) } }
            try expectChange { try must { rename(name, name + "2") } }
            try expectChange { try must { link(outside, name) } }
            try expectChange { try must { mkfifo(name + "3", 0o644) } }
            try expectChange { try must { unlink(name) } }
            // Changing what is in a file is no change of its directory.
            let before = try status(parent)
            tick()
            try must { chmod(name + "3", 0o600) }
            expect(.exists) { mkdir(name + "3", 0o755) }
            #expect(try status(parent).modified == before.modified)
        }

        /// A new file's three times are the present.
        @Test func timesOfNewFiles() throws {
            var clock = timespec()
            clock_gettime(CLOCK_REALTIME, &clock)
            let file = try folder.file("file", [1])
            let found = try status(file)
            for time in [found.accessed, found.modified, found.changed] {
                #expect(abs(time.seconds - Int64(clock.tv_sec)) <= 5)
            }
        }

        @Test func sizesAndBlocks() throws {
            let file = try folder.file("file", pattern(100_000))
            let opened = try TestFile(file, O_RDWR)
            try must { fsync(opened.raw) }
            let full = try status(file)
            #expect(full.size == 100_000)
            #expect(full.blocks >= 100_000 / 512 && full.blocks < 2 * 100_000 / 512)
            try must { truncate(file, 0) }
            #expect(try status(file).size == 0)
            #expect(try status(file).blocks == 0)
            #expect(full.block_size >= 512)
            #expect(try status(folder.path).type == UInt32(S_IFDIR))
        }

        @Test func truncating() throws {
            let file = try folder.file("file", pattern(10_000))
            try must { truncate(file, 5_000) }
            #expect(try contents(file) == Array(pattern(10_000)[..<5_000]))
            try must { truncate(file, 9_000) }
            let zeros = [UInt8](repeating: 0, count: 4_000)
            #expect(try contents(file) == Array(pattern(10_000)[..<5_000]) + zeros)
            expect(.invalid) { truncate(file, -1) }
            let reader = try TestFile(file, O_RDONLY)
            let error = failure { ftruncate(reader.raw, 0) }
            #expect(error == .invalid || error == .badDescriptor)
            try must { mkfifo(folder("fifo"), 0o644) }
            expect(.invalid) { truncate(folder("fifo"), 0) }
        }

        @Test func statisticsOfTheFileSystem() throws {
            var blocks: UInt64 = 0
            var files: UInt64 = 0
            var nameLength: UInt64 = 0
            var type: UInt64 = 0
            try must { CPosix_statfs(folder.path, &blocks, &files, &nameLength, &type) }
            #expect(blocks > 0)
            #expect(nameLength == 255)
            if folder.isForebay {
                #expect(type == 0x6573_5546, "fuse")
                let backing = try #require(Place.current?.backing)
                var there: (UInt64, UInt64) = (0, 0)
                try must { CPosix_statfs(backing, &there.0, &there.1, &nameLength, &type) }
                #expect(blocks == there.0)
                #expect(files == there.1)
            }
            expect(.noEntry) {
                CPosix_statfs(folder("missing"), &blocks, &files, &nameLength, &type)
            }
        }
    }
}
