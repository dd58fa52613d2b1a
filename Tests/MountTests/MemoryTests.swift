import CLinux
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What a server takes beside its RAM tier, and what the kernel keeps above it.
    @Suite(.serialized, .enabled(if: Machine.canMount, "needs root and /dev/fuse"))
    struct MemoryTests {
        private static let isLong = getenv("FOREBAY_TEST_LONG") != nil
        private static let files = isLong ? 10_000 : 2000
        /// So that all together are 1 TiB.
        private static let size = ((1 << 40) / UInt64(files) / 4096 + 1) * 4096
        /// One file in so many has data.
        private static let dataEvery = 10

        private func makeFiles(_ folder: String) throws {
            for number in 0..<Self.files {
                if number % 1000 == 0 { try call { mkdir("\(folder)/\(number / 1000)", 0o755) } }
                let file = try OpenFile(path(folder, number), O_WRONLY | O_CREAT)
                if number % Self.dataEvery == 0 {
                    let block = Content.block(seed: 1, number: UInt64(number))
                    try file.write(block, at: UInt64(number) * 4096)
                }
                try file.truncate(to: Self.size)
            }
        }

        private func path(_ folder: String, _ number: Int) -> String {
            "\(folder)/\(number / 1000)/\(number)"
        }

        private func beyond(_ mount: ForebayMount) throws -> Int {
            Int(try #require(mount.status().integer("server_beyond_ram_bytes")))
        }

        /// Every file of 1 TiB is known, those with data were read: each costs little, all too.
        @Test func filesOfOneTebibyte() throws {
            let backing = try TemporaryFolder("files")
            try makeFiles(backing.path)
            try withForebay(over: backing.path, options: ["ram=16M"]) { mount in
                let before = try beyond(mount)
                for number in 0..<Self.files {
                    let file = path(mount.path, number)
                    #expect(try Files.attributes(file).size == Self.size)
                    guard number % Self.dataEvery == 0 else { continue }
                    let block = try OpenFile(file, O_RDONLY | CLinux_O_DIRECT)
                        .read(at: UInt64(number) * 4096, count: 4096)
                    #expect(block == Content.block(seed: 1, number: UInt64(number)))
                }
                let status = try mount.status()
                #expect(try #require(status.integer("inodes")) > UInt64(Self.files))
                let perFile = (try beyond(mount) - before) / Self.files
                print("beyond the RAM tier: \(before) bytes, and \(perFile) for each known file")
                #expect(perFile < 4096)
                // Requests under way, the program, the heap.
                #expect(before < 192 << 20)
                let tier = try #require(status.integer("ram_resident_bytes"))
                #expect(tier <= (16 << 20) * 105 / 100)
                let resident = try #require(status.integer("server_resident_bytes"))
                #expect(resident > 0 && resident < 256 << 20)
            }
        }

        /// A datastore that is away keeps nobody who asks waiting.
        @Test(.enabled(if: isLong)) func whatIsAwayIsNotLookedAt() throws {
            try withForebay(options: ["ram=16M"]) { mount, datastore in
                try datastore.hang()
                defer { _ = try? datastore.heal() }
                // Somebody has to ask for it to be noticed.
                let caller = try ChildProcess("stat", [mount.path("nothing")])
                defer { caller.kill() }
                #expect(
                    eventually(within: 20) {
                        (try? mount.xattr("health"))?.hasPrefix("away") == true
                    })
                let result = try mount.attempt("status", "--page-cache")
                #expect(result.status == 1)
                #expect(result.errorOutput.contains("it is away"), "\(result.text)")
                #expect(try mount.attempt("status").status == 0)
            }
        }

        private func pageCache(_ mount: ForebayMount) throws -> (bytes: UInt64, files: UInt64) {
            let found = FlatJSON(try mount.command("status", "--page-cache", "--json").output)
            #expect(found.integer("page_cache_known_files") == 2)
            #expect(found.integer("page_cache_unreadable_files") == 0)
            return (
                try #require(found.integer("page_cache_bytes")),
                try #require(found.integer("page_cache_files"))
            )
        }

        /// What was read through the page cache is in it, beside the RAM tier, until it is dropped.
        @Test func thePageCacheIsCounted() throws {
            let backing = try TemporaryFolder("pages")
            try Content.write(backing.path("buffered"), seed: 1, count: 64)
            try Content.write(backing.path("direct"), seed: 2, count: 64)
            try withForebay(over: backing.path, options: ["ram=16M"]) { mount in
                #expect(try pageCache(mount) == (0, 0))
                _ = try readDirect(mount.path("direct"))
                #expect(try pageCache(mount) == (0, 0))
                _ = try Files.read(mount.path("buffered"))
                #expect(try pageCache(mount) == (64 * 4096, 1))
                // Opening the files to look must not have emptied it.
                #expect(try pageCache(mount) == (64 * 4096, 1))
                let table = try mount.command("status", "--page-cache").output
                #expect(table.contains("256.0 KiB of 1 files, 2 looked at"), "\(table)")
                #expect(try !mount.command("status").output.contains("page cache"))
                try mount.command("drop")
                #expect(eventually { (try? pageCache(mount))?.bytes == 0 })
            }
        }
    }
}
