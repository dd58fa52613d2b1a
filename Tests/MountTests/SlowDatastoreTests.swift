import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// A datastore that is slow or fails, but answers.
    @Suite(.serialized) struct SlowDatastoreTests {
        private static func prepare(_ datastore: TestDatastore) throws {
            try Content.write(datastore.folderPath("hot"), seed: 1, count: 64)
            let cold = try OpenFile(datastore.folderPath("cold"), O_RDWR | O_CREAT)
            try cold.truncate(to: 64 << 30)
        }

        /// Runs `body` while eight threads read what is not cached.
        private func underMisses(
            _ mount: ForebayMount, _ body: (Callers) throws -> Void
        ) throws {
            let reader = try DirectReader(mount.path("cold"))
            let misses = try Callers(8) { number, count in
                _ = try reader.once(4096, at: number << 32 + count << 18)
            }
            defer { misses.stop() }
            try body(misses)
        }

        private func becomes(
            _ mount: ForebayMount, within seconds: UInt64 = 40, _ health: String
        ) throws -> Bool {
            try eventually(within: seconds) { try mount.xattr("health").hasPrefix(health) }
        }

        @Test func slownessIsDegradedAndOverAgain() throws {
            try withForebay(options: ["attr_timeout=2"], prepare: Self.prepare) {
                mount, datastore in
                let expected = Content.blocks(seed: 1, count: 64)
                #expect(try readDirect(mount.path("hot")) == expected)
                try underMisses(mount) { misses in
                    // It has to be known what is usual.
                    sleep(milliseconds: 12_000)
                    #expect(try mount.xattr("health") == "healthy")
                    try datastore.setLatency("read", microseconds: 400_000)
                    #expect(try becomes(mount, "degraded: the datastore is slow: reads take 4"))
                    #expect(try readDirect(mount.path("hot")) == expected)
                    #expect(try mount.xattr("health_transitions") == "1")
                    // A successor knows what is usual, and that it is slow: from a record that is
                    // written ten times a second.
                    sleep(milliseconds: 500)
                    let server = try mount.serverPid
                    try must { kill(server, SIGKILL) }
                    let health = try mount.xattr("health")
                    #expect(health.hasPrefix("degraded: the datastore is slow"), "\(health)")
                    #expect(try mount.serverPid != server)
                    try datastore.setLatency("read", microseconds: 0)
                    #expect(try becomes(mount, "healthy"))
                    #expect(try mount.xattr("health_transitions") == "2")
                    #expect(try mount.status().integer("health_transitions") == 2)
                    #expect(misses.errors == [])
                }
            }
        }

        /// The datastore's own errors are the caller's; that they are many is told.
        @Test func errorsAreDegradedAndOverAgain() throws {
            try withForebay(prepare: Self.prepare) { mount, datastore in
                let expected = Content.blocks(seed: 1, count: 64)
                #expect(try readDirect(mount.path("hot")) == expected)
                try datastore.fail("read", "EIO")
                try underMisses(mount) { misses in
                    #expect(try becomes(mount, "degraded: "))
                    let health = try mount.xattr("health")
                    #expect(health.contains("Input/output error"), "\(health)")
                    #expect(misses.errors == [.io])
                    #expect(try readDirect(mount.path("hot")) == expected)
                    try datastore.heal()
                    #expect(try becomes(mount, "healthy"))
                }
            }
        }

        /// That the datastore cannot be reached is no error of a file.
        @Test func anUnreachableDatastoreIsToldToTryLater() throws {
            try withForebay(options: ["attr_timeout=1"], prepare: Self.prepare) {
                mount, datastore in
                let expected = Content.blocks(seed: 1, count: 64)
                #expect(try readDirect(mount.path("hot")) == expected)
                try underMisses(mount) { misses in
                    try datastore.fail("all", "ENOTCONN")
                    #expect(try becomes(mount, "away"))
                    #expect(try readDirect(mount.path("hot")) == expected)
                    #expect(misses.errors == [.timedOut])
                    try datastore.heal()
                    #expect(try becomes(mount, within: 4, "healthy"))
                }
            }
        }
    }
}
