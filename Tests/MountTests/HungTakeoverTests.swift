import CLinux
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// The server dies while the datastore does not answer: the next one asks it nothing to begin
    /// with, serves what is known and tells the rest to try again later.
    @Suite(.serialized) struct HungTakeoverTests {
        /// How a datastore can be silent.
        enum Silence: CaseIterable {
            /// Calls wait and can be ended by a fatal signal.
            case hung
            /// Nothing can end them: threads of a killed server stay where they are.
            case frozen
        }

        private static let blocks = 256

        private static func prepare(_ datastore: TestDatastore) throws {
            try Content.write(datastore.folderPath("hot"), seed: 1, count: blocks)
            let cold = try OpenFile(datastore.folderPath("cold"), O_RDWR | O_CREAT)
            try cold.truncate(to: 4 << 30)
        }

        @Test(arguments: Silence.allCases)
        func killsWhileNothingAnswers(silence: Silence) throws {
            try withForebay(
                options: ["backend_timeout=2", "attr_timeout=1"], prepare: Self.prepare
            ) { mount, datastore in
                let expected = Content.blocks(seed: 1, count: Self.blocks)
                #expect(try readDirect(mount.path("hot")) == expected)
                try Self.kills(silence, mount, datastore)
                #expect(try readDirect(mount.path("hot")) == expected)
                try Files.write(mount.path("new"), [1, 2, 3])
                #expect(try Files.read(datastore.folderPath("new")) == [1, 2, 3])
                try mount.unmount()
            }
        }

        private static func kills(
            _ silence: Silence, _ mount: ForebayMount, _ datastore: TestDatastore
        ) throws {
            let missing = try DirectReader(mount.path("cold"))
            let cached = try DirectReader(mount.path("hot"))
            let expected = Content.blocks(seed: 1, count: blocks)
            let space = try space(mount.path)
            try datastore.hang()
            let waiters = try Callers(8) { number, _ in
                _ = try missing.once(4096, at: number << 20)
            }
            defer { waiters.stop() }
            try datastore.waitUntilHeld(1)
            if silence == .frozen { datastore.freeze() }
            let isAway = try eventually(within: 20) {
                try mount.xattr("health").hasPrefix("away")
            }
            #expect(isAway)
            var pauses: [Double] = []
            for _ in 0..<4 {
                let server = try mount.serverPid
                let start = monotonicNanoseconds()
                try must { kill(server, SIGKILL) }
                // The first answer is the next server's.
                #expect(try Self.space(mount.path) == space)
                pauses.append(Double(monotonicNanoseconds() - start) / 1e9)
                #expect(try mount.serverPid != server)
                #expect(try mount.xattr("health").hasPrefix("away"))
                // What was cached is served from what the last server left.
                let bytes = try cached.once(blocks * 4096, at: 0)
                #expect(bytes == expected)
                let asked = monotonicNanoseconds()
                #expect(throws: Errno.timedOut) { _ = try missing.once(4096, at: 1 << 30) }
                #expect(monotonicNanoseconds() - asked < .milliseconds(2500))
            }
            print("killed while \(silence): pauses of \(pauses) s")
            #expect(pauses.allSatisfy { $0 < 2 })
            #expect(waiters.errors == [.timedOut])
            if silence == .frozen { datastore.thaw() }
            try datastore.unhang()
            let back = monotonicNanoseconds()
            #expect(eventually(within: 2) { (try? missing.once(4096, at: 2 << 30)) != nil })
            let served = Double(monotonicNanoseconds() - back) / 1e9
            #expect(eventually(within: 4) { (try? mount.xattr("health")) == "healthy" })
            let healthy = Double(monotonicNanoseconds() - back) / 1e9
            print("back: serves after \(served) s, healthy after \(healthy) s")
            waiters.stop()
            #expect(waiters.errors == [.timedOut])
        }

        /// Sizes as statfs(2) tells them.
        private static func space(_ path: String) throws -> [UInt64] {
            var status = statvfs()
            try must { statvfs(path, &status) }
            return [status.f_blocks, status.f_frsize, status.f_files].map { UInt64($0) }
        }
    }
}
