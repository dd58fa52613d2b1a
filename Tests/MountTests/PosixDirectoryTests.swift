import CLinux
import CPosix
import Glibc
import Synchronization
import Syscalls
import TestSupport
import Testing

extension PosixTests {
    /// Reading directories: every name once, at any size, from any place, while names come and go.
    @Suite struct PosixDirectoryTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        private struct Found {
            let name: String
            let inode: UInt64
            let type: UInt8
            /// Where the next entry begins.
            let next: Int
        }

        private func list(_ directory: OpaquePointer) -> [Found] {
            var found: [Found] = []
            while let entry = readdir(directory) {
                found.append(
                    Found(
                        name: nameOf(entry), inode: UInt64(entry.pointee.d_ino),
                        type: entry.pointee.d_type, next: telldir(directory)))
            }
            return found
        }

        @Test func entriesTellTypeAndInode() throws {
            let directory = try folder.directory("directory")
            _ = try folder.file("directory/file")
            try must { mkdir(directory + "/directory", 0o755) }
            try must { symlink("target", directory + "/symlink") }
            try must { mkfifo(directory + "/fifo", 0o644) }
            let stream = try #require(opendir(directory))
            defer { closedir(stream) }
            let found = list(stream)
            #expect(found.count == 6)
            let types: [String: Int] = [
                ".": DT_DIR, "..": DT_DIR, "file": DT_REG, "directory": DT_DIR, "symlink": DT_LNK,
                "fifo": DT_FIFO,
            ]
            for entry in found {
                #expect(types[entry.name] == Int(entry.type), "\(entry.name)")
                guard entry.name != ".." else { continue }
                let path = directory + "/" + entry.name
                #expect(try status(path).inode == entry.inode, "\(entry.name)")
            }
            let empty = try folder.directory("empty")
            let other = try #require(opendir(empty))
            defer { closedir(other) }
            #expect(Set(list(other).map(\.name)) == [".", ".."])
        }

        /// Many more than one reply to a listing holds; 10,000 in the long form.
        @Test func thousandsOfNames() throws {
            let directory = try folder.directory("directory")
            let count = getenv("FOREBAY_TEST_LONG") == nil ? 3_000 : 10_000
            let all = (0..<count).map { "file-with-a-name-of-some-length-\($0)" }
            let parent = try TestFile(directory, O_RDONLY | O_DIRECTORY)
            for name in all {
                let raw = try must { CLinux_openat(parent.raw, name, O_CREAT | O_WRONLY, 0o644) }
                close(raw)
            }
            let stream = try #require(opendir(directory))
            defer { closedir(stream) }
            let found = list(stream)
            #expect(found.count == count + 2)
            #expect(Set(found.map(\.name)) == Set(all).union([".", ".."]))
            rewinddir(stream)
            #expect(list(stream).map(\.name) == found.map(\.name))
            // From the place behind an entry comes the next one, in any order of asking.
            for index in [count - 1, 17, count / 2, 0, 2_048, 127, count] {
                seekdir(stream, found[index].next)
                let entry = try #require(readdir(stream))
                #expect(nameOf(entry) == found[index + 1].name)
            }
            // Places are the directory's, not the descriptor's.
            let other = try #require(opendir(directory))
            defer { closedir(other) }
            let place = count * 3 / 5
            seekdir(other, found[place].next)
            #expect(list(other).map(\.name) == found[(place + 1)...].map(\.name))
            try removingWhileReading(directory, all, parent)
        }

        /// Names that are there from beginning to end appear once, whatever happens to others.
        private func removingWhileReading(
            _ directory: String, _ all: [String], _ parent: TestFile
        ) throws {
            let stream = try #require(opendir(directory))
            defer { closedir(stream) }
            var seen: [String: Int] = [:]
            var next = 0
            while let entry = readdir(stream) {
                seen[nameOf(entry), default: 0] += 1
                // Every odd name goes, from the end, while the listing goes on.
                if next < all.count / 2 {
                    let name = all[all.count - 1 - 2 * next]
                    try must { unlinkat(parent.raw, name, 0) }
                    next += 1
                }
            }
            #expect(seen.values.allSatisfy { $0 == 1 })
            #expect(stride(from: 0, to: all.count, by: 2).allSatisfy { seen[all[$0]] == 1 })
            #expect(try names(in: directory).count == all.count / 2)
            // rm -r removes while it reads, until nothing is left.
            rewinddir(stream)
            while let entry = readdir(stream) {
                let name = nameOf(entry)
                if name != ".", name != ".." { try must { unlinkat(parent.raw, name, 0) } }
            }
            try must { rmdir(directory) }
        }

        @Test func namesThatComeWhileReading() throws {
            let directory = try folder.directory("directory")
            for number in 0..<500 { _ = try folder.file("directory/old-\(number)") }
            let stream = try #require(opendir(directory))
            defer { closedir(stream) }
            var seen: [String: Int] = [:]
            var number = 0
            while let entry = readdir(stream) {
                seen[nameOf(entry), default: 0] += 1
                if number < 200 {
                    try put([], in: directory + "/new-\(number)")
                    try must {
                        rename(directory + "/old-\(number)", directory + "/moved-\(number)")
                    }
                    number += 1
                }
            }
            #expect((200..<500).allSatisfy { seen["old-\($0)"] == 1 })
            #expect(try names(in: directory).count == 700)
        }

        @Test func namesOfFullLength() throws {
            let directory = try folder.directory("directory")
            let all = (100..<400).map { "\($0)" + String(repeating: "l", count: 252) }
            for name in all { _ = try folder.file("directory/" + name) }
            #expect(try names(in: directory) == all)
            var buffer = [UInt8](repeating: 0, count: 10)
            let file = try TestFile(directory, O_RDONLY | O_DIRECTORY)
            expect(.invalid) { CLinux_getdents(file.raw, &buffer, 10) }
            let plain = try TestFile(folder("file"))
            expect(.notDirectory) { CLinux_getdents(plain.raw, &buffer, 10) }
        }

        /// Many threads work in one directory: every operation has one winner.
        @Test func concurrentChanges() throws {
            let path = folder.path
            let winners = Mutex<[Int]>([0, 0, 0, 0])
            for round in 0..<30 {
                let (file, directory) = (path + "/file-\(round)", path + "/directory-\(round)")
                try concurrently(8) { _ in
                    let raw = CLinux_open(file, O_CREAT | O_EXCL | O_WRONLY, 0o644)
                    if raw >= 0 {
                        close(raw)
                        winners.withLock { $0[0] += 1 }
                    }
                    if mkdir(directory, 0o755) == 0 { winners.withLock { $0[1] += 1 } }
                }
                try concurrently(8) { number in
                    if rename(file, file + "-\(number)") == 0 { winners.withLock { $0[2] += 1 } }
                    if rmdir(directory) == 0 { winners.withLock { $0[3] += 1 } }
                }
            }
            #expect(winners.withLock { $0 } == [30, 30, 30, 30])
            #expect(try names(in: path).count == 30)
        }

        /// Renames in both directions at once neither lose a file nor hang.
        @Test func concurrentRenames() throws {
            let (one, two) = (try folder.directory("one"), try folder.directory("two"))
            for number in 0..<8 { _ = try folder.file("one/file-\(number)", [UInt8(number)]) }
            try concurrently(8) { number in
                for _ in 0..<50 {
                    let name = "/file-\(number)"
                    try call { rename(one + name, two + name + "-away") }
                    try call { rename(two + name + "-away", one + name) }
                }
            }
            for number in 0..<8 {
                #expect(try contents(one + "/file-\(number)") == [UInt8(number)])
            }
            #expect(try names(in: two).isEmpty)
        }
    }
}
