import CLinux
import CPosix
import Glibc
import Syscalls
import Testing

extension PosixTests {
    /// Open files: flags, reads and writes at every alignment, files without a name.
    @Suite struct PosixFileTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        @Test func openFlags() throws {
            let path = try folder.file("file", [1, 2, 3])
            let reader = try TestFile(path, O_RDONLY)
            let writer = try TestFile(path, O_WRONLY)
            var byte: UInt8 = 0
            expect(.badDescriptor) { pwrite(reader.raw, &byte, 1, 0) }
            expect(.badDescriptor) { pread(writer.raw, &byte, 1, 0) }
            expect(.invalid) { pread(reader.raw, &byte, 1, -1) }
            #expect(try reader.read(10) == [1, 2, 3])
            #expect(try reader.read(1, at: 3) == [])
            #expect(try reader.read(1, at: 1 << 40) == [])
            try writer.write([9], at: 1)
            #expect(try reader.read(10) == [1, 9, 3])
            _ = try TestFile(path, O_RDONLY | O_EXCL)
            _ = try TestFile(path, O_WRONLY | O_TRUNC)
            #expect(try status(path).size == 0)
            #expect(try reader.read(10) == [])
        }

        /// The mode given to open(2) is the new file's, and counts for later opens only.
        @Test func creatingWithoutPermission() throws {
            let file = try TestFile(folder("file"), O_CREAT | O_EXCL | O_RDWR, mode: 0o000)
            try file.write([1, 2])
            #expect(try file.read(3) == [1, 2])
            try must { fchmod(file.raw, 0o400) }
            try file.write([3], at: 2)
            #expect(try status(of: file).permissions == 0o400)
            #expect(try file.read(3) == [1, 2, 3])
        }

        @Test func appending() throws {
            let path = try folder.file("file", [1, 2, 3])
            let one = try TestFile(path, O_WRONLY | O_APPEND)
            let two = try TestFile(path, O_WRONLY | O_APPEND)
            for number in 0..<10 {
                let file = number % 2 == 0 ? one : two
                try must { write(file.raw, [UInt8(10 + number)], 1) }
            }
            // Linux appends whatever offset pwrite(2) is given.
            try must { pwrite(one.raw, [UInt8(99)], 1, 0) }
            #expect(try contents(path) == [1, 2, 3] + Array(10..<20) + [99])
            try must { truncate(path, 1) }
            try must { write(two.raw, [UInt8(5)], 1) }
            #expect(try contents(path) == [1, 5])
            // A change made under another name and descriptor moves the end as well.
            let other = try TestFile(path, O_RDWR)
            try other.write([7, 7], at: 4)
            try must { write(one.raw, [UInt8(8)], 1) }
            #expect(try contents(path) == [1, 5, 0, 0, 7, 7, 8])
        }

        /// Offsets and lengths around the edges of blocks and requests.
        @Test func unalignedReadsAndWrites() throws {
            let size = (1 << 20) + 12_345
            var model = pattern(size)
            let file = try TestFile(folder("file"))
            try file.write(model)
            let places = [0, 1, 511, 512, 4095, 4096, 4097, 65_535, 131_071, size - 4097, size - 1]
            let lengths = [1, 2, 511, 513, 4095, 4096, 4097, 8191, 70_000, 131_073]
            for (index, place) in places.enumerated() {
                for length in lengths {
                    let expected = Array(model[place..<min(size, place + length)])
                    #expect(try file.read(length, at: place) == expected)
                }
                let bytes = pattern(lengths[index % lengths.count], seed: UInt64(index))
                let fitting = Array(bytes.prefix(size - place))
                try file.write(fitting, at: place)
                model.replaceSubrange(place..<place + fitting.count, with: fitting)
                let start = max(0, place - 10_000)
                let around = Array(model[start..<min(size, start + 20_000)])
                #expect(try file.read(20_000, at: start) == around)
            }
            #expect(try contents(folder("file")) == model)
            if let backing = Place.current?.backing {
                let name = String(folder.path.split(separator: "/").last ?? "")
                #expect(try contents("\(backing)/\(name)/file") == model)
            }
        }

        @Test func vectors() throws {
            let file = try TestFile(folder("file"))
            let (one, two) = (pattern(5000, seed: 1), pattern(7001, seed: 2))
            let written = try must {
                CPosix_pwritev(file.raw, one, one.count, two, two.count, 3, 0)
            }
            #expect(written == 12_001)
            #expect(try file.read(20_000, at: 3) == one + two)
            var first = [UInt8](repeating: 0, count: 4999)
            var second = [UInt8](repeating: 0, count: 10_000)
            let count = try must { CPosix_preadv(file.raw, &first, 4999, &second, 10_000, 3) }
            #expect(count == 12_001)
            #expect(first + second[..<7002] == one + two)
            let stable = try must {
                CPosix_pwritev(file.raw, one, 10, two, 10, 0, CLinux_RWF_DSYNC)
            }
            #expect(stable == 20)
        }

        @Test func synchronousFlags() throws {
            for flags in [O_SYNC, O_DSYNC] {
                let file = try TestFile(folder("file\(flags)"), O_CREAT | O_RDWR | flags)
                try file.write(pattern(10_000))
                try must { fsync(file.raw) }
                try must { fdatasync(file.raw) }
                #expect(try file.read(10_000) == pattern(10_000))
            }
            let directory = try TestFile(folder.path, O_RDONLY | O_DIRECTORY)
            try must { fsync(directory.raw) }
            try must { fdatasync(directory.raw) }
            try must { CLinux_syncfs(directory.raw) }
        }

        /// A file that was removed while it is open goes on as it was.
        @Test func removedWhileOpen() throws {
            let path = try folder.file("file", pattern(100_000))
            let file = try TestFile(path, O_RDWR)
            let before = try status(of: file)
            try must { unlink(path) }
            expect(.noEntry) { CLinux_open(path, O_RDONLY, 0) }
            #expect(try names(in: folder.path).isEmpty, "nothing like .nfs or .fuse_hidden")
            let after = try status(of: file)
            #expect(after.links == 0 && after.inode == before.inode && after.size == 100_000)
            #expect(try file.read(100_000) == pattern(100_000))
            try file.write(pattern(5000, seed: 3), at: 98_000)
            #expect(try file.read(10_000, at: 98_000) == pattern(5000, seed: 3))
            try must { fsync(file.raw) }
            try must { ftruncate(file.raw, 1_000_000) }
            try must { fchmod(file.raw, 0o600) }
            try must { CPosix_fsetxattr(file.raw, "user.test", "v", 1, 0) }
            try must { CLinux_fallocate(file.raw, 0, 0, 2_000_000) }
            try must { CPosix_utimens(file.raw, nil, 1, 2, 3, 4, 0) }
            let changed = try status(of: file)
            #expect(changed.size == 2_000_000 && changed.permissions == 0o600)
            #expect(changed.modified == FileTime(seconds: 3, nanoseconds: 4))
            // The name is free for another file, which is another one.
            _ = try folder.file("file", [1])
            #expect(try status(path).size == 1)
            #expect(try file.read(10, at: 98_000) == Array(pattern(5000, seed: 3)[..<10]))
            try must { rmdirAfterUnlink(path) }
        }

        private func rmdirAfterUnlink(_ path: String) -> Int32 {
            unlink(path) == 0 ? rmdir(folder.path) : -1
        }

        @Test func filesWithoutName() throws {
            let file = try TestFile(folder.path, CLinux_O_TMPFILE | O_RDWR, mode: 0o640)
            try file.write(pattern(10_000))
            #expect(try status(of: file).links == 0)
            #expect(try status(of: file).permissions == 0o640)
            #expect(try names(in: folder.path).isEmpty)
            try must {
                linkat(
                    AT_FDCWD, "/proc/self/fd/\(file.raw)", AT_FDCWD, folder("named"),
                    CPosix_AT_SYMLINK_FOLLOW)
            }
            #expect(try status(folder("named")).inode == status(of: file).inode)
            #expect(try status(of: file).links == 1)
            #expect(try contents(folder("named")) == pattern(10_000))
            let kept = try TestFile(folder.path, CLinux_O_TMPFILE | O_RDWR | O_EXCL)
            expect(.noEntry) {
                linkat(
                    AT_FDCWD, "/proc/self/fd/\(kept.raw)", AT_FDCWD, folder("never"),
                    CPosix_AT_SYMLINK_FOLLOW)
            }
        }

        @Test func specialFiles() throws {
            for (name, type) in [("block", S_IFBLK), ("character", S_IFCHR)] {
                let device = CPosix_makedev(250, 77)
                try must { mknod(folder(name), UInt32(type) | 0o600, dev_t(device)) }
                let found = try status(folder(name))
                #expect(found.type == UInt32(type))
                #expect(found.special_device == device)
            }
            // No such device, or no devices on this mount.
            let error = failure { CLinux_open(folder("character"), O_RDONLY, 0) }
            #expect(error == .noDevice || error == .accessDenied)
            #expect(
                try failure(asUser: User.first) {
                    mknod("/tmp/forebay-never", UInt32(S_IFCHR) | 0o600, 1)
                } == .notPermitted)
            try must { mkfifo(folder("fifo"), 0o644) }
            #expect(try status(folder("fifo")).type == UInt32(S_IFIFO))
            expect(.noDevice) { CLinux_open(folder("fifo"), O_WRONLY | O_NONBLOCK, 0) }
            let reader = try TestFile(folder("fifo"), O_RDONLY | O_NONBLOCK)
            let writer = try TestFile(folder("fifo"), O_WRONLY)
            try must { write(writer.raw, "fifo", 4) }
            var bytes = [UInt8](repeating: 0, count: 10)
            #expect(read(reader.raw, &bytes, 10) == 4)
        }

        @Test func sockets() throws {
            let listener = TestFile(
                owning: try must { socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0) })
            let path = folder("socket")
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let size = socklen_t(MemoryLayout<sockaddr_un>.size)
            let raw = listener.raw
            try withUnsafePointer(to: address) { pointer in
                try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    _ = try must { bind(raw, address, size) }
                    _ = try must { listen(raw, 1) }
                    let client = TestFile(
                        owning: try must { socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0) })
                    _ = try must { connect(client.raw, address, size) }
                    expect(Errno(EADDRINUSE)) { bind(client.raw, address, size) }
                }
            }
            #expect(try status(path).type == UInt32(S_IFSOCK))
            expect(.noDevice) { CLinux_open(path, O_RDONLY, 0) }
        }
    }
}
