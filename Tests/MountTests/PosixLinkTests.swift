import CLinux
import CPosix
import Glibc
import Syscalls
import Testing

extension PosixTests {
    /// Hard links, symbolic links and renames: one inode however it is named.
    @Suite struct PosixLinkTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        @Test func hardLinks() throws {
            let first = try folder.file("first", [1, 2, 3])
            let before = try status(first)
            #expect(before.links == 1)
            usleep(10_000)
            try must { link(first, folder("second")) }
            let one = try status(first)
            let two = try status(folder("second"))
            #expect(one.inode == before.inode && two.inode == before.inode)
            #expect(one.links == 2 && two.links == 2)
            #expect(one.changed > before.changed && one.changed == two.changed)
            #expect(one.modified == before.modified)
            try put([4, 5], in: folder("second"))
            #expect(try contents(first) == [4, 5])
            #expect(try status(first).size == 2)
            try must { chmod(first, 0o600) }
            #expect(try status(folder("second")).permissions == 0o600)
            let opened = try TestFile(folder("second"), O_RDONLY)
            try must { unlink(first) }
            #expect(try status(of: opened).links == 1)
            #expect(try status(folder("second")).links == 1)
            try must { unlink(folder("second")) }
            #expect(try status(of: opened).links == 0)
            #expect(try opened.read(10) == [4, 5])
        }

        @Test func hardLinksOfOtherTypes() throws {
            try must { symlink("target", folder("symlink")) }
            try must { mkfifo(folder("fifo"), 0o644) }
            for name in ["symlink", "fifo"] {
                try must { link(folder(name), folder(name + "2")) }
                #expect(try status(folder(name)).inode == status(folder(name + "2")).inode)
                #expect(try status(folder(name)).links == 2)
            }
            let file = try folder.file("file")
            try must { symlink(file, folder("to-file")) }
            try must {
                linkat(
                    AT_FDCWD, folder("to-file"), AT_FDCWD, folder("followed"),
                    CPosix_AT_SYMLINK_FOLLOW)
            }
            #expect(try status(folder("followed")).inode == status(file).inode)
        }

        /// The link count of a directory is 2 and one for each directory in it, where the
        /// datastore counts them.
        @Test func linksOfDirectories() throws {
            let directory = try folder.directory("directory")
            #expect(try status(directory).links == 2)
            try must { mkdir(directory + "/a", 0o755) }
            try must { mkdir(directory + "/b", 0o755) }
            #expect(try status(directory).links == 4)
            try must { rename(directory + "/b", folder("b")) }
            #expect(try status(directory).links == 3)
            try must { rmdir(directory + "/a") }
            #expect(try status(directory).links == 2)
        }

        @Test(arguments: [1, 60, 255, 1000, 4095]) func symlinkTargets(length: Int) throws {
            let target = String(repeating: "t", count: length)
            let path = folder("symlink")
            try must { symlink(target, path) }
            var buffer = [CChar](repeating: 0, count: 8192)
            let count = try must { readlink(path, &buffer, buffer.count) }
            #expect(count == length)
            #expect(buffer[..<count].allSatisfy { $0 == CChar(UInt8(ascii: "t")) })
            let attributes = try status(path)
            #expect(attributes.size == UInt64(length))
            #expect(attributes.type == UInt32(S_IFLNK) && attributes.permissions == 0o777)
            // A short buffer gets as much as fits.
            #expect(readlink(path, &buffer, 1) == 1)
        }

        @Test func symlinkErrors() throws {
            let file = try folder.file("file")
            var buffer = [CChar](repeating: 0, count: 64)
            expect(.invalid) { readlink(file, &buffer, 64) }
            expect(.noEntry) { symlink("", folder("empty")) }
            expect(.nameTooLong) {
                symlink(String(repeating: "t", count: 4096), folder("long"))
            }
            try must { symlink("loop2", folder("loop1")) }
            try must { symlink("loop1", folder("loop2")) }
            expect(.tooManySymlinks) { CLinux_open(folder("loop1"), O_RDONLY, 0) }
            expect(.tooManySymlinks) { CLinux_open(folder("loop1/x"), O_RDONLY, 0) }
            expect(.tooManySymlinks) { CLinux_open(folder("loop1"), O_RDONLY | O_NOFOLLOW, 0) }
            expect(.tooManySymlinks) { chmod(folder("loop1"), 0o644) }
            try must { symlink("nowhere", folder("dangling")) }
            expect(.noEntry) { truncate(folder("dangling"), 0) }
            expect(.noEntry) { CLinux_open(folder("dangling"), O_RDONLY, 0) }
        }

        @Test func symlinksAreFollowed() throws {
            let directory = try folder.directory("directory")
            try must { symlink("directory", folder("relative")) }
            try must { symlink(directory, folder("absolute")) }
            try put([1], in: folder("relative/file"))
            #expect(try contents(folder("absolute/file")) == [1])
            try must { symlink("relative/made", folder("to-make")) }
            try put([2], in: folder("to-make"))
            #expect(try contents(directory + "/made") == [2])
            // 40 links after one another are followed, the 41st is too much.
            _ = try folder.file("link0", [3])
            for number in 1...41 {
                try must { symlink("link\(number - 1)", folder("link\(number)")) }
            }
            #expect(try contents(folder("link40")) == [3])
            expect(.tooManySymlinks) { CLinux_open(folder("link41"), O_RDONLY, 0) }
        }

        @Test func renames() throws {
            let source = try folder.file("source", [1, 2, 3])
            let inode = try status(source).inode
            let target = folder("target")
            try must { rename(source, target) }
            #expect(try status(target).inode == inode)
            expect(.noEntry) { unlink(source) }
            let victim = try folder.file("victim", [9])
            let opened = try TestFile(victim, O_RDWR)
            try must { rename(target, victim) }
            #expect(try contents(victim) == [1, 2, 3])
            #expect(try status(victim).inode == inode)
            #expect(try status(of: opened).links == 0)
            #expect(try opened.read(10) == [9])
            try opened.write([8, 8])
            #expect(try opened.read(10) == [8, 8])
            #expect(try contents(victim) == [1, 2, 3])
            #expect(try names(in: folder.path) == ["victim"])
        }

        /// Renaming one name of a file over another of its names does nothing, says POSIX.
        @Test func renameToTheSameFile() throws {
            let first = try folder.file("first", [1])
            try must { rename(first, first) }
            try must { link(first, folder("second")) }
            try must { rename(first, folder("second")) }
            #expect(try names(in: folder.path) == ["first", "second"])
        }

        @Test func renamesOverOtherTypes() throws {
            let file = try folder.file("file")
            let directory = try folder.directory("directory")
            let full = try folder.directory("full")
            _ = try folder.file("full/file")
            expect(.isDirectory) { rename(file, directory) }
            expect(.notDirectory) { rename(directory, file) }
            expect(.notEmpty) { rename(directory, full) }
            expect(.invalid) { rename(full, full + "/inside") }
            expect(.busy) { rename(full + "/.", folder("x")) }
            expect(.busy) { rename(file, full + "/..") }
            expect(.notDirectory) { rename(file, folder("new/")) }
            try must { rename(full, directory) }
            #expect(try names(in: directory) == ["file"])
            try must { rename(directory, folder("new/")) }
            #expect(try names(in: folder.path) == ["file", "new"])
        }

        @Test func movedDirectories() throws {
            let from = try folder.directory("from")
            let to = try folder.directory("to")
            let moved = try folder.directory("from/moved")
            _ = try folder.file("from/moved/file", [5])
            let opened = try TestFile(moved, O_RDONLY | O_DIRECTORY)
            try must { rename(moved, to + "/renamed") }
            #expect(try contents(to + "/renamed/file") == [5])
            #expect(try names(in: from).isEmpty)
            var parent = CLinux_attributes()
            try must { CLinux_statx(opened.raw, "..", 0, &parent) }
            #expect(try parent.inode == status(to).inode)
            let raw = try must { CLinux_openat(opened.raw, "file", O_RDONLY, 0) }
            #expect(try TestFile(owning: raw).read(2) == [5])
        }

        @Test func renameFlags() throws {
            let one = try folder.file("one", [1])
            let two = try folder.directory("two")
            _ = try folder.file("two/inside", [2])
            let noReplace = UInt32(CPosix_RENAME_NOREPLACE)
            let exchange = UInt32(CPosix_RENAME_EXCHANGE)
            expect(.exists) { CLinux_renameat(AT_FDCWD, one, AT_FDCWD, two, noReplace) }
            expect(.noEntry) { CLinux_renameat(AT_FDCWD, one, AT_FDCWD, folder("x"), exchange) }
            expect(.invalid) {
                CLinux_renameat(AT_FDCWD, one, AT_FDCWD, two, exchange | noReplace)
            }
            let inodes = (try status(one).inode, try status(two).inode)
            try must { CLinux_renameat(AT_FDCWD, one, AT_FDCWD, two, exchange) }
            #expect(try status(one).inode == inodes.1)
            #expect(try status(two).inode == inodes.0)
            #expect(try contents(one + "/inside") == [2])
            #expect(try contents(two) == [1])
            try must { CLinux_renameat(AT_FDCWD, two, AT_FDCWD, folder("free"), noReplace) }
            #expect(try names(in: folder.path) == ["free", "one"])
        }

        @Test func renameChangesTimes() throws {
            let from = try folder.directory("from")
            let to = try folder.directory("to")
            let file = try folder.file("from/file", [1])
            let before = (try status(from), try status(to), try status(file))
            usleep(20_000)
            try must { rename(file, to + "/file") }
            let after = (try status(from), try status(to), try status(to + "/file"))
            #expect(after.0.modified > before.0.modified && after.0.changed > before.0.changed)
            #expect(after.1.modified > before.1.modified && after.1.changed > before.1.changed)
            #expect(after.2.changed > before.2.changed)
            #expect(after.2.modified == before.2.modified)
        }
    }
}
