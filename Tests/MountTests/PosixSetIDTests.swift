import CLinux
import CPosix
import Glibc
import Syscalls
import Testing

extension PosixTests {
    /// Set-user-ID and set-group-ID bits: whoever is not privileged and changes a program's
    /// contents or owner takes them away.
    @Suite struct PosixSetIDTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder(mode: 0o777) }

        private func program() throws -> String {
            try folder.file(
                "program", pattern(5000), mode: 0o6777, owner: User.first, group: User.groupA)
        }

        private func expectCleared(
            sourceLocation: SourceLocation = #_sourceLocation,
            _ body: @escaping (String) -> Int32
        ) throws {
            let path = try program()
            #expect(try status(path).permissions == 0o6777, sourceLocation: sourceLocation)
            let error = try failure(asUser: User.second) { body(path) }
            #expect(error == nil, sourceLocation: sourceLocation)
            #expect(try status(path).permissions == 0o777, sourceLocation: sourceLocation)
        }

        @Test func writes() throws {
            for flags in [O_RDWR, O_RDWR | CLinux_O_DIRECT, O_RDWR | O_SYNC, O_WRONLY | O_APPEND] {
                try expectCleared { path in
                    let raw = CLinux_open(path, flags, 0)
                    if raw < 0 { return -1 }
                    defer { close(raw) }
                    var memory: UnsafeMutableRawPointer?
                    posix_memalign(&memory, 4096, 4096)
                    guard let memory else { return -1 }
                    memset(memory, 1, 4096)
                    defer { free(memory) }
                    return Int32(pwrite(raw, memory, 4096, 0))
                }
            }
        }

        @Test func truncations() throws {
            try expectCleared { truncate($0, 10) }
            try expectCleared { truncate($0, 100_000) }
            try expectCleared { path in
                let raw = CLinux_open(path, O_RDWR | O_TRUNC, 0)
                return raw < 0 ? raw : close(raw)
            }
            try expectCleared { path in
                let raw = CLinux_open(path, O_RDWR, 0)
                defer { close(raw) }
                return ftruncate(raw, 10)
            }
        }

        @Test func allocations() throws {
            try expectCleared { path in
                let raw = CLinux_open(path, O_RDWR, 0)
                defer { close(raw) }
                return CLinux_fallocate(raw, 0, 0, 100_000)
            }
        }

        /// A write by a privileged process keeps the bits, and so does a write by the owner only
        /// where the owner is privileged.
        @Test func privilegedWrites() throws {
            let path = try program()
            let file = try TestFile(path, O_RDWR)
            try file.write([1])
            #expect(try status(path).permissions == 0o6777)
            let error = try failure(asUser: User.first, group: User.groupA) {
                let raw = CLinux_open(path, O_RDWR, 0)
                defer { close(raw) }
                return pwrite(raw, "x", 1, 0)
            }
            #expect(error == nil)
            #expect(try status(path).permissions == 0o777)
        }

        /// The set-group-ID bit of a file without group execution is no program's: it stays.
        @Test func mandatoryLockBit() throws {
            let path = try program()
            try must { chmod(path, 0o2666) }
            let error = try failure(asUser: User.second) {
                let raw = CLinux_open(path, O_RDWR, 0)
                defer { close(raw) }
                return pwrite(raw, "x", 1, 0)
            }
            #expect(error == nil)
            let permissions = try status(path).permissions
            #expect([0o2666, 0o666].contains(permissions))
            #expect(try contents(path)[0] == UInt8(ascii: "x"))
        }

        @Test func ownerChanges() throws {
            let path = try program()
            let error = try failure(asUser: User.first, groups: [User.groupA, User.groupB]) {
                chown(path, UInt32.max, User.groupB)
            }
            #expect(error == nil)
            #expect(try status(path).permissions == 0o777)
            try must { chmod(path, 0o6777) }
            try must { chown(path, User.second, User.groupA) }
            #expect(try status(path).permissions == 0o777, "Linux clears them for root too")
            // A directory's set-group-ID bit means something else and stays.
            let directory = try folder.directory(
                "directory", mode: 0o2777, owner: User.first, group: User.groupA)
            try must { chown(directory, User.second, User.groupB) }
            #expect(try status(directory).permissions == 0o2777)
        }

        @Test func modeChanges() throws {
            let path = try program()
            // Someone outside of the file's group cannot give it the set-group-ID bit.
            let error = try failure(asUser: User.first, group: User.second) { chmod(path, 0o2775) }
            #expect(error == nil)
            #expect(try status(path).permissions == 0o775)
            let inGroup = try failure(asUser: User.first, group: User.groupA) {
                chmod(path, 0o2775)
            }
            #expect(inGroup == nil)
            #expect(try status(path).permissions == 0o2775)
        }

        /// Reads and attribute changes that fail leave the bits alone.
        @Test func bitsThatStay() throws {
            let path = try program()
            let error = try failure(asUser: User.second) {
                let raw = CLinux_open(path, O_RDWR, 0)
                defer { close(raw) }
                var byte: UInt8 = 0
                _ = pread(raw, &byte, 1, 0)
                return fsync(raw)
            }
            #expect(error == nil)
            #expect(try failure(asUser: User.second) { chown(path, 1, 1) } == .notPermitted)
            try must { CPosix_utimens(AT_FDCWD, path, 1, 0, 1, 0, 0) }
            try must { rename(path, folder("renamed")) }
            #expect(try status(folder("renamed")).permissions == 0o6777)
        }
    }
}
