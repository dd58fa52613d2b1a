import CPosix
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// `user.forebay.cache`, `.policy` and `.drop`: what users tell the cache.
    @Suite(.serialized) struct CachePolicyTests {
        private static func prepare(_ datastore: TestDatastore) throws {
            try call { mkdir(datastore.folderPath("directory"), 0o755) }
            try call { mkdir(datastore.folderPath("directory/inner"), 0o755) }
            for name in ["file", "directory/one", "directory/inner/two"] {
                try Content.write(datastore.folderPath(name), seed: 1, count: 32)
            }
        }

        /// Whether a second read of a file costs the datastore anything.
        private static func isCached(
            _ mount: ForebayMount, _ datastore: TestDatastore, _ name: String
        ) throws -> Bool {
            let expected = Content.blocks(seed: 1, count: 32)
            #expect(try readDirect(mount.path(name)) == expected)
            let before = try Numbers(mount)
            try datastore.resetCounts()
            #expect(try readDirect(mount.path(name)) == expected)
            let after = try Numbers(mount)
            let isBypassed = after.grown("bypassed", since: before) >= 32
            let reads = after.grown("backend_reads", since: before)
            #expect(isBypassed == (reads > 0), "\(name)")
            return !isBypassed
        }

        @Test func bypass() throws {
            try withForebay(prepare: Self.prepare) { mount, datastore in
                #expect(try mount.xattr("cache", of: "file") == "normal")
                #expect(try Self.isCached(mount, datastore, "file"))
                try mount.setXattr("cache", "bypass", of: "file")
                #expect(try mount.xattr("cache", of: "file") == "bypass")
                #expect(try !Self.isCached(mount, datastore, "file"))
                try mount.setXattr("cache", "inherit", of: "file")
                #expect(try mount.xattr("cache", of: "file") == "normal")
                #expect(try Self.isCached(mount, datastore, "file"))
            }
        }

        @Test func inheritance() throws {
            try withForebay(prepare: Self.prepare) { mount, datastore in
                try mount.setXattr("cache", "bypass", of: "directory")
                for name in [
                    "directory", "directory/one", "directory/inner", "directory/inner/two",
                ] {
                    #expect(try mount.xattr("cache", of: name) == "bypass", "\(name)")
                }
                #expect(try mount.xattr("cache", of: "file") == "normal")
                #expect(try !Self.isCached(mount, datastore, "directory/inner/two"))
                try mount.setXattr("cache", "normal", of: "directory/inner/two")
                #expect(try Self.isCached(mount, datastore, "directory/inner/two"))
                #expect(try !Self.isCached(mount, datastore, "directory/one"))
                // A file of a directory that says nothing has what the directory above says.
                try mount.setXattr("cache", "inherit", of: "directory")
                try mount.setXattr("cache", "pin")
                #expect(try mount.xattr("cache", of: "directory/one") == "pin")
                #expect(try Self.isCached(mount, datastore, "directory/one"))
            }
        }

        /// Policies follow the file, not the name, and are there after another mount.
        @Test func persistence() throws {
            try withForebay(prepare: Self.prepare) { mount, datastore in
                try mount.setXattr("cache", "bypass", of: "file")
                try mount.setXattr("cache", "bypass", of: "directory/inner")
                try call { rename(mount.path("file"), mount.path("renamed")) }
                #expect(try mount.xattr("cache", of: "renamed") == "bypass")
                try mount.unmount()
                try mount.mount()
                #expect(try mount.xattr("cache", of: "renamed") == "bypass")
                #expect(try mount.xattr("cache", of: "directory/inner/two") == "bypass")
                #expect(try mount.xattr("cache", of: "directory/one") == "normal")
                #expect(try !Self.isCached(mount, datastore, "renamed"))
                #expect(try Self.isCached(mount, datastore, "directory/one"))
                // A new file of the old name is another file.
                try Content.write(mount.path("file"), seed: 1, count: 32)
                #expect(try mount.xattr("cache", of: "file") == "normal")
            }
        }

        @Test func dropping() throws {
            try withForebay(prepare: Self.prepare) { mount, datastore in
                let all = ["file", "directory/one", "directory/inner/two"]
                func expectCold(
                    _ cold: Set<String>, sourceLocation: SourceLocation = #_sourceLocation
                ) throws {
                    for name in all {
                        let bytes = try Numbers(mount, name)["cached_bytes"]
                        #expect(
                            (bytes == 0) == cold.contains(name), "\(name)",
                            sourceLocation: sourceLocation)
                    }
                    for name in all {
                        // Buffered: the kernel's page cache must have been dropped as well.
                        try datastore.resetCounts()
                        let before = try Numbers(mount, name)
                        #expect(
                            try Files.read(mount.path(name)) == Content.blocks(seed: 1, count: 32))
                        let after = try Numbers(mount, name)
                        #expect(
                            (after.grown("reads", since: before) > 0) == cold.contains(name),
                            "\(name)", sourceLocation: sourceLocation)
                    }
                }
                try expectCold(Set(all))
                try expectCold([])
                try mount.drop("file")
                try expectCold(["file"])
                try mount.drop("directory")
                try expectCold(["directory/one", "directory/inner/two"])
                try mount.drop()
                try expectCold(Set(all))
                try mount.command("drop", mount.path("directory/one"))
                try expectCold(["directory/one"])
                try mount.command("drop")
                try expectCold(Set(all))
            }
        }

        @Test func wrongValues() throws {
            try withForebay(prepare: Self.prepare) { mount, _ in
                let path = mount.path("file")
                func setting(_ name: String, _ value: String) -> Errno? {
                    failure {
                        CPosix_setxattr(path, "user.forebay.\(name)", value, value.utf8.count, 0)
                    }
                }
                #expect(setting("cache", "sometimes") == .invalid)
                #expect(setting("policy", "back") == .invalid, "there is no log")
                #expect(setting("policy", "through") == nil)
                #expect(setting("drop", "2") == .invalid)
                #expect(setting("unknown", "1") != nil)
                #expect(setting("reads", "1") != nil, "read only")
                expect(.noData) { CPosix_getxattr(path, "user.forebay.unknown", nil, 0) }
                expect(.noData) { CPosix_getxattr(path, "user.forebay.version", nil, 0) }
                #expect(try mount.xattr("cache", of: "file") == "normal")
                // Nothing of it is listed, so that no copy carries it along.
                var names = [CChar](repeating: 0, count: 4096)
                let count = try must { CPosix_listxattr(path, &names, 4096) }
                let text = String(
                    decoding: names[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
                #expect(!text.contains("user.forebay."))
            }
        }

        @Test func permissions() throws {
            try withForebay(prepare: Self.prepare) { mount, _ in
                for path in [mount.path, mount.path + "/.."] { try must { chmod(path, 0o755) } }
                let path = mount.path("file")
                try must { chown(path, User.first, User.first) }
                for name in ["cache", "policy", "drop", "flush"] {
                    let value = ["cache": "bypass", "policy": "through"][name] ?? "1"
                    let found = try failure(asUser: User.first) {
                        CPosix_setxattr(path, "user.forebay.\(name)", value, value.utf8.count, 0)
                    }
                    #expect(found == .notPermitted, "\(name)")
                }
                let found = try failure(asUser: User.first) {
                    CPosix_getxattr(path, "user.forebay.stats", nil, 0)
                }
                #expect(found == nil)
                #expect(try mount.xattr("cache", of: "file") == "normal")
            }
        }
    }
}
