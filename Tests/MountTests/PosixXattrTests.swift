import CPosix
import Glibc
import Syscalls
import Testing

extension PosixTests {
    /// Extended attributes of the datastore, which pass through.
    @Suite struct PosixXattrTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        private func value(
            _ path: String, _ name: String, sourceLocation: SourceLocation = #_sourceLocation
        ) throws -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: 65_536)
            let count = try must(sourceLocation: sourceLocation) {
                CPosix_getxattr(path, name, &bytes, bytes.count)
            }
            return Array(bytes[..<count])
        }

        private func list(_ path: String) throws -> Set<String> {
            var bytes = [CChar](repeating: 0, count: 65_536)
            let count = try must { CPosix_listxattr(path, &bytes, bytes.count) }
            let list = bytes[..<count].map { UInt8(bitPattern: $0) }
            return Set(list.split(separator: 0).map { String(decoding: $0, as: UTF8.self) })
        }

        @Test func settingAndRemoving() throws {
            for path in [try folder.file("file"), try folder.directory("directory")] {
                let before = try list(path)
                try must { CPosix_setxattr(path, "user.one", [1, 2, 3] as [UInt8], 3, 0) }
                try must { CPosix_setxattr(path, "user.empty", "", 0, 0) }
                try must { CPosix_setxattr(path, "trusted.two", "value", 5, 0) }
                #expect(try value(path, "user.one") == [1, 2, 3])
                #expect(try value(path, "user.empty") == [])
                #expect(try value(path, "trusted.two") == Array("value".utf8))
                #expect(
                    try list(path) == before.union(["user.one", "user.empty", "trusted.two"]))
                try must { CPosix_setxattr(path, "user.one", "longer", 6, 0) }
                #expect(try value(path, "user.one") == Array("longer".utf8))
                try must { CPosix_removexattr(path, "user.one") }
                var bytes = [UInt8](repeating: 0, count: 10)
                expect(.noData) { CPosix_getxattr(path, "user.one", &bytes, 10) }
                expect(.noData) { CPosix_removexattr(path, "user.one") }
                #expect(try list(path) == before.union(["user.empty", "trusted.two"]))
            }
        }

        @Test func flags() throws {
            let path = try folder.file("file")
            let (create, replace) = (CPosix_XATTR_CREATE, CPosix_XATTR_REPLACE)
            expect(.noData) { CPosix_setxattr(path, "user.a", "v", 1, replace) }
            try must { CPosix_setxattr(path, "user.a", "v", 1, create) }
            expect(.exists) { CPosix_setxattr(path, "user.a", "w", 1, create) }
            try must { CPosix_setxattr(path, "user.a", "w", 1, replace) }
            #expect(try value(path, "user.a") == Array("w".utf8))
            expect(.invalid) { CPosix_setxattr(path, "user.a", "w", 1, 0x100) }
        }

        @Test func sizes() throws {
            let path = try folder.file("file")
            let bytes = pattern(2000)
            try must { CPosix_setxattr(path, "user.big", bytes, bytes.count, 0) }
            #expect(try value(path, "user.big") == bytes)
            // No room asks for the size; too little is ERANGE.
            #expect(CPosix_getxattr(path, "user.big", nil, 0) == 2000)
            var small = [UInt8](repeating: 0, count: 1999)
            expect(.range) { CPosix_getxattr(path, "user.big", &small, 1999) }
            let size = try must { CPosix_listxattr(path, nil, 0) }
            #expect(size >= "user.big".utf8.count + 1)
            var names = [CChar](repeating: 0, count: size)
            expect(.range) { CPosix_listxattr(path, &names, size - 1) }
            #expect(CPosix_listxattr(path, &names, size) == size)
            let huge = [UInt8](repeating: 1, count: 65_537)
            expect(.tooBig) { CPosix_setxattr(path, "user.huge", huge, huge.count, 0) }
            let long = "user." + String(repeating: "n", count: 250)
            try must { CPosix_setxattr(path, long, "v", 1, 0) }
            #expect(try value(path, long) == Array("v".utf8))
            expect(.range) { CPosix_setxattr(path, long + "n", "v", 1, 0) }
            expect(.range) { CPosix_setxattr(path, "", "v", 1, 0) }
        }

        @Test func errors() throws {
            var bytes = [UInt8](repeating: 0, count: 10)
            let missing = folder("missing")
            expect(.noEntry) { CPosix_getxattr(missing, "user.a", &bytes, 10) }
            expect(.noEntry) { CPosix_setxattr(missing, "user.a", "v", 1, 0) }
            expect(.noEntry) { CPosix_removexattr(missing, "user.a") }
            let path = try folder.file("file", mode: 0o644)
            expect(.notSupported) { CPosix_setxattr(path, "unknown.a", "v", 1, 0) }
            // User attributes are for files and directories only.
            try must { symlink("target", folder("symlink")) }
            expect(.notPermitted) { CPosix_lsetxattr(folder("symlink"), "user.a", "v", 1, 0) }
            try must { CPosix_lsetxattr(folder("symlink"), "trusted.a", "v", 1, 0) }
            #expect(CPosix_lgetxattr(folder("symlink"), "trusted.a", &bytes, 10) == 1)
        }

        @Test func permissions() throws {
            let path = try folder.file("file", mode: 0o644, owner: User.first)
            try must { CPosix_setxattr(path, "user.a", "v", 1, 0) }
            try must { CPosix_setxattr(path, "trusted.a", "v", 1, 0) }
            let found = try asUser(User.second) {
                var bytes = [UInt8](repeating: 0, count: 10)
                return [
                    failure { CPosix_getxattr(path, "user.a", &bytes, 10) },
                    failure { CPosix_setxattr(path, "user.a", "v", 1, 0) },
                    failure { CPosix_removexattr(path, "user.a") },
                    failure { CPosix_getxattr(path, "trusted.a", &bytes, 10) },
                    failure { CPosix_setxattr(path, "trusted.a", "v", 1, 0) },
                ]
            }
            #expect(found == [nil, .accessDenied, .accessDenied, .noData, .notPermitted])
            try must { chmod(path, 0o600) }
            let unreadable = try failure(asUser: User.second) {
                CPosix_getxattr(path, "user.a", nil, 0)
            }
            #expect(unreadable == .accessDenied)
            #expect(
                try failure(asUser: User.first) { CPosix_setxattr(path, "user.a", "v", 1, 0) }
                    == nil)
        }

        /// Attributes belong to the file: they stay at renames, links and writes.
        @Test func attributesFollowTheFile() throws {
            let path = try folder.file("file", [1])
            try must { CPosix_setxattr(path, "user.a", "v", 1, 0) }
            try must { link(path, folder("link")) }
            try must { rename(path, folder("renamed")) }
            try put([1, 2, 3], in: folder("renamed"))
            for name in ["link", "renamed"] {
                #expect(try value(folder(name), "user.a") == Array("v".utf8))
            }
            let file = try TestFile(folder("link"), O_RDWR)
            try must { CPosix_fsetxattr(file.raw, "user.a", "w", 1, 0) }
            #expect(try value(folder("renamed"), "user.a") == Array("w".utf8))
        }

        /// A write takes file capabilities away (security.capability), like set-ID bits.
        @Test func capabilities() throws {
            let path = try folder.file("file", pattern(100), mode: 0o777)
            // Version 2 of the kernel's structure, with CAP_NET_RAW permitted and effective.
            let value: [UInt8] = [1, 0, 0, 2, 0, 32, 0, 0] + [UInt8](repeating: 0, count: 12)
            try must { CPosix_setxattr(path, "security.capability", value, value.count, 0) }
            #expect(try self.value(path, "security.capability") == value)
            let error = try failure(asUser: User.second) {
                let raw = Glibc.open(path, O_RDWR)
                defer { close(raw) }
                return pwrite(raw, "x", 1, 0)
            }
            #expect(error == nil)
            var bytes = [UInt8](repeating: 0, count: 100)
            expect(.noData) { CPosix_getxattr(path, "security.capability", &bytes, 100) }
        }
    }
}
