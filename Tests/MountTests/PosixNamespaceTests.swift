import CLinux
import CPosix
import Glibc
import Syscalls
import Testing

extension PosixTests {
    /// Names: what making, removing, linking and renaming them may and may not do.
    @Suite struct PosixNamespaceTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        @Test func missingNames() throws {
            let missing = folder("missing")
            let below = folder("missing/below")
            var attributes = CLinux_attributes()
            expect(.noEntry) { CLinux_statx(AT_FDCWD, missing, 0, &attributes) }
            for path in [missing, below] {
                expect(.noEntry) { CLinux_open(path, O_RDONLY, 0) }
                expect(.noEntry) { unlink(path) }
                expect(.noEntry) { rmdir(path) }
                expect(.noEntry) { rename(path, folder("x")) }
                expect(.noEntry) { link(path, folder("x")) }
                expect(.noEntry) { truncate(path, 0) }
                expect(.noEntry) { chmod(path, 0o600) }
                expect(.noEntry) { chown(path, 0, 0) }
            }
            expect(.noEntry) { mkdir(below, 0o755) }
            expect(.noEntry) { symlink("target", below) }
            expect(.noEntry) { mkfifo(below, 0o644) }
            expect(.noEntry) { CLinux_open(below, O_CREAT | O_RDWR, 0o644) }
            let file = try folder.file("file")
            expect(.noEntry) { link(file, below) }
            expect(.noEntry) { rename(file, below) }
        }

        @Test func filesAreNotDirectories() throws {
            let file = try folder.file("file")
            let below = file + "/below"
            expect(.notDirectory) { CLinux_open(below, O_RDONLY, 0) }
            expect(.notDirectory) { CLinux_open(below, O_CREAT | O_RDWR, 0o644) }
            expect(.notDirectory) { mkdir(below, 0o755) }
            expect(.notDirectory) { unlink(below) }
            expect(.notDirectory) { rmdir(below) }
            expect(.notDirectory) { symlink("target", below) }
            expect(.notDirectory) { mkfifo(below, 0o644) }
            expect(.notDirectory) { rename(below, folder("x")) }
            expect(.notDirectory) { rename(file, below) }
            expect(.notDirectory) { link(file, below) }
            expect(.notDirectory) { rmdir(file) }
            expect(.notDirectory) { CLinux_open(file, O_RDONLY | O_DIRECTORY, 0) }
            expect(.notDirectory) { CLinux_open(file + "/", O_RDONLY, 0) }
            expect(.notDirectory) { unlink(file + "/") }
        }

        @Test func directoriesAreNotFiles() throws {
            let directory = try folder.directory("directory")
            expect(.isDirectory) { CLinux_open(directory, O_RDWR, 0) }
            expect(.isDirectory) { CLinux_open(directory, O_WRONLY, 0) }
            expect(.isDirectory) { CLinux_open(directory, O_CREAT | O_RDWR, 0o644) }
            expect(.isDirectory) { unlink(directory) }
            expect(.isDirectory) { truncate(directory, 0) }
            expect(.notPermitted) { link(directory, folder("x")) }
            let opened = try TestFile(directory, O_RDONLY | O_DIRECTORY)
            var byte: UInt8 = 0
            expect(.isDirectory) { pread(opened.raw, &byte, 1, 0) }
            expect(.badDescriptor) { pwrite(opened.raw, &byte, 1, 0) }
            expect(.invalid) { ftruncate(opened.raw, 0) }
        }

        @Test func namesInUse() throws {
            let file = try folder.file("file")
            let directory = try folder.directory("directory")
            try must { symlink("nowhere", folder("dangling")) }
            for path in [file, directory, folder("dangling")] {
                expect(.exists) { mkdir(path, 0o755) }
                expect(.exists) { symlink("target", path) }
                expect(.exists) { mkfifo(path, 0o644) }
                expect(.exists) { mknod(path, UInt32(S_IFREG) | 0o644, 0) }
                expect(.exists) { CLinux_open(path, O_CREAT | O_EXCL | O_RDWR, 0o644) }
                expect(.exists) { link(file, path) }
            }
        }

        @Test func removingDirectories() throws {
            let directory = try folder.directory("directory")
            let inner = try folder.directory("directory/inner")
            expect(.notEmpty) { rmdir(directory) }
            expect(.invalid) { rmdir(directory + "/.") }
            expect(.notEmpty) { rmdir(inner + "/..") }
            try must { rmdir(inner + "/") }
            try must { rmdir(directory) }
            expect(.noEntry) { rmdir(directory) }
        }

        /// A directory that was removed while it was open or somebody's working directory is empty
        /// and takes no new names.
        @Test func removedDirectoryInUse() throws {
            let directory = try folder.directory("directory")
            let opened = try TestFile(directory, O_RDONLY | O_DIRECTORY)
            try must { rmdir(directory) }
            #expect(try status(of: opened).links == 0)
            expect(.noEntry) { CLinux_openat(opened.raw, "new", O_CREAT | O_RDWR, 0o644) }
            expect(.noEntry) { mkdirat(opened.raw, "new", 0o755) }
            expect(.noEntry) { symlinkat("target", opened.raw, "new") }
            let stream = try #require(fdopendir(dup(opened.raw)))
            defer { closedir(stream) }
            var found: [String] = []
            while let entry = readdir(stream) { found.append(nameOf(entry)) }
            #expect(found.allSatisfy { $0 == "." || $0 == ".." })
        }

        @Test(arguments: [1, 254, 255]) func longNames(length: Int) throws {
            let name = String(repeating: "n", count: length)
            let path = try folder.file(name, [1, 2, 3])
            #expect(try contents(path) == [1, 2, 3])
            #expect(try names(in: folder.path) == [name])
            let other = folder(String(repeating: "m", count: length))
            try must { rename(path, other) }
            try must { link(other, path) }
            try must { unlink(other) }
            try must { unlink(path) }
            try must { mkdir(path, 0o755) }
            try must { rmdir(path) }
            try must { symlink("target", path) }
        }

        @Test func tooLongNames() throws {
            let long = folder(String(repeating: "n", count: 256))
            let file = try folder.file("file")
            expect(.nameTooLong) { CLinux_open(long, O_CREAT | O_RDWR, 0o644) }
            expect(.nameTooLong) { CLinux_open(long, O_RDONLY, 0) }
            expect(.nameTooLong) { mkdir(long, 0o755) }
            expect(.nameTooLong) { mkfifo(long, 0o644) }
            expect(.nameTooLong) { symlink("target", long) }
            expect(.nameTooLong) { link(file, long) }
            expect(.nameTooLong) { rename(file, long) }
            expect(.nameTooLong) { rename(long, file) }
            expect(.nameTooLong) { unlink(long) }
            expect(.nameTooLong) { rmdir(long) }
            let beyond = folder(String(repeating: "a/", count: Int(PATH_MAX) / 2))
            expect(.nameTooLong) { CLinux_open(beyond, O_RDONLY, 0) }
        }

        /// Names are bytes: no encoding is asked of them.
        @Test func namesOfAnyBytes() throws {
            let directory = try TestFile(folder.path, O_RDONLY | O_DIRECTORY)
            let odd: [[UInt8]] = [[0xFF, 0xFE], [1, 2, 3], [0x20], [0x5C, 0x0A], [0xC3, 0x28]]
            for name in odd {
                let terminated = name.map { CChar(bitPattern: $0) } + [0]
                let raw = try must {
                    CLinux_openat(directory.raw, terminated, O_CREAT | O_EXCL | O_RDWR, 0o644)
                }
                close(raw)
            }
            for name in odd {
                let terminated = name.map { CChar(bitPattern: $0) } + [0]
                try must { unlinkat(directory.raw, terminated, 0) }
            }
            #expect(try names(in: folder.path).isEmpty)
        }

        /// A tree deeper than PATH_MAX allows to name is reached step by step.
        @Test func deepTrees() throws {
            let name = String(repeating: "d", count: 200)
            var open: [TestFile] = [try TestFile(folder.path, O_RDONLY | O_DIRECTORY)]
            for _ in 0..<40 {
                let parent = open[open.count - 1].raw
                try must { mkdirat(parent, name, 0o755) }
                let raw = try must { CLinux_openat(parent, name, O_RDONLY | O_DIRECTORY, 0) }
                open.append(TestFile(owning: raw))
            }
            let deepest = open[open.count - 1].raw
            let raw = try must { CLinux_openat(deepest, "file", O_CREAT | O_RDWR, 0o644) }
            let file = TestFile(owning: raw)
            try file.write(pattern(10_000))
            #expect(try file.read(10_000) == pattern(10_000))
            try must { unlinkat(deepest, "file", 0) }
            open.removeLast()
            while let parent = open.popLast() {
                try must { unlinkat(parent.raw, name, AT_REMOVEDIR) }
            }
            #expect(try names(in: folder.path).isEmpty)
        }

        @Test func pathsUpToTheLimit() throws {
            // Directories of 100 bytes, so that the whole path stays just below PATH_MAX.
            var path = folder.path
            let step = "/" + String(repeating: "p", count: 99)
            while path.utf8.count + step.utf8.count < Int(PATH_MAX) - 101 {
                path += step
                try must { mkdir(path, 0o755) }
            }
            let rest = Int(PATH_MAX) - 2 - path.utf8.count
            let longest = path + "/" + String(repeating: "f", count: rest)
            #expect(longest.utf8.count == Int(PATH_MAX) - 1)
            try put([7], in: longest)
            #expect(try contents(longest) == [7])
            try must { unlink(longest) }
            expect(.nameTooLong) { CLinux_open(longest + "f", O_RDONLY, 0) }
        }

        @Test func otherFileSystems() throws {
            let file = try folder.file("file")
            expect(.crossDevice) { link(file, "/dev/shm/forebay-test-link") }
            expect(.crossDevice) { rename(file, "/dev/shm/forebay-test-link") }
        }

        @Test func mountpointsAreBusy() throws {
            let directory = try folder.directory("directory")
            let other = try folder.directory("other")
            try must { mount(other, directory, nil, UInt(CPosix_MS_BIND), nil) }
            defer { umount2(directory, CPosix_MNT_DETACH) }
            expect(.busy) { rmdir(directory) }
            expect(.busy) { rename(directory, folder("x")) }
        }
    }
}
