import CLinux
import CPosix
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What the read cache must answer, and what it must not.
    @Suite(.serialized) struct CacheTests {
        private static let blocks = 512

        /// The second read costs the datastore nothing, whoever makes it and however.
        @Test func secondRead() throws {
            try withForebay(
                prepare: { datastore in
                    try Content.write(
                        datastore.folderPath("file"), seed: 1, count: Self.blocks)
                }
            ) { mount, datastore in
                let expected = Content.blocks(seed: 1, count: Self.blocks)
                #expect(try readDirect(mount.path("file")) == expected)
                #expect(try datastore.counts().readBytes >= UInt64(expected.count))
                try datastore.resetCounts()
                let before = try Numbers(mount)
                // A running guest's disk is open read-write.
                let writer = try OpenFile(mount.path("file"), O_RDWR)
                #expect(try readDirect(mount.path("file")) == expected)
                #expect(try readDirect(mount.path("file"), chunk: 4096) == expected)
                #expect(try Files.read(mount.path("file")) == expected)
                let after = try Numbers(mount)
                #expect(try datastore.counts()["read"] == 0)
                #expect(after["backend_reads"] == before["backend_reads"])
                #expect(after.grown("hits_ram", since: before) >= 2 * Self.blocks)
                #expect(after["misses"] == before["misses"])
                #expect(after["saved_bytes"] > 0)
                writer.dropPageCache()
            }
        }

        /// Single blocks, last first, so that nothing is read ahead: each is a miss once, then
        /// hits.
        @Test func exactCounts() throws {
            try withForebay(
                prepare: { datastore in
                    try Content.write(datastore.folderPath("file"), seed: 2, count: 100)
                    try Files.write(datastore.folderPath("short"), pattern(5_000))
                }
            ) { mount, _ in
                let reader = try DirectReader(mount.path("file"))
                var last = try Numbers(mount, "file")
                func expectGrowth(
                    hits: Int, misses: Int, reads: Int, bytes: Int, of name: String = "file",
                    sourceLocation: SourceLocation = #_sourceLocation
                ) throws {
                    let now = try Numbers(mount, name)
                    let found = ["hits_ram", "misses", "reads", "read_bytes"].map {
                        now.grown($0, since: last)
                    }
                    #expect(found == [hits, misses, reads, bytes], sourceLocation: sourceLocation)
                    last = now
                }
                for number in stride(from: 98, through: 0, by: -2) {
                    let block = try reader.once(4096, at: number * 4096)
                    #expect(block == Content.block(seed: 2, number: UInt64(number)))
                }
                try expectGrowth(hits: 0, misses: 50, reads: 50, bytes: 50 * 4096)
                #expect(try mount.xattr("hit_ratio", of: "file") == "0.0000")
                for number in stride(from: 98, through: 0, by: -2) {
                    _ = try reader.once(4096, at: number * 4096)
                }
                try expectGrowth(hits: 50, misses: 0, reads: 50, bytes: 50 * 4096)
                #expect(try mount.xattr("hit_ratio", of: "file") == "0.5000")
                // A part of a block counts as the block; 100 bytes across an edge touch two.
                _ = try reader.once(512, at: 10 * 4096 + 512)
                try expectGrowth(hits: 1, misses: 0, reads: 1, bytes: 512)
                let edge = try reader.once(1024, at: 11 * 4096 - 512)
                #expect(edge.count == 1024)
                try expectGrowth(hits: 1, misses: 1, reads: 1, bytes: 1024)
                // The end of a file is a short block; behind it there is nothing to count.
                last = try Numbers(mount, "short")
                let short = try DirectReader(mount.path("short"))
                #expect(try short.once(65_536, at: 0) == pattern(5_000))
                try expectGrowth(hits: 0, misses: 2, reads: 1, bytes: 5_000, of: "short")
                #expect(try short.once(65_536, at: 0) == pattern(5_000))
                try expectGrowth(hits: 2, misses: 0, reads: 1, bytes: 5_000, of: "short")
            }
        }

        /// Contents are kept once, in whatever files they stand; zeros take no space.
        @Test func deduplication() throws {
            try withForebay(
                prepare: { datastore in
                    for name in ["one", "two", "three"] {
                        try Content.write(
                            datastore.folderPath(name), seed: 3, count: Self.blocks)
                    }
                    let zeros = [UInt8](repeating: 0, count: Self.blocks * 4096)
                    try Files.write(datastore.folderPath("zeros"), zeros)
                    let sparse = try OpenFile(datastore.folderPath("sparse"), O_RDWR | O_CREAT)
                    try sparse.truncate(to: UInt64(zeros.count))
                }
            ) { mount, datastore in
                let size = Self.blocks * 4096
                #expect(try mount.xattr("dedup_ratio") == "1.00")
                for name in ["one", "two", "three"] { _ = try readDirect(mount.path(name)) }
                // Contents are compared after the reply.
                let isMerged = try eventually {
                    let numbers = try Numbers(mount)
                    return numbers["unique_bytes"] == size && numbers["cached_bytes"] == 3 * size
                }
                let statistics = try mount.xattr("stats")
                #expect(isMerged, "\(statistics)")
                #expect(try mount.xattr("unique_bytes_ram") == "\(size)")
                #expect(try mount.xattr("dedup_ratio") == "3.00")
                #expect(try mount.xattr("cached_bytes", of: "two") == "\(size)")
                for name in ["zeros", "sparse"] {
                    let before = try Numbers(mount)
                    #expect(try readDirect(mount.path(name)).allSatisfy { $0 == 0 })
                    try datastore.resetCounts()
                    #expect(try readDirect(mount.path(name)).count == size)
                    #expect(try datastore.counts()["read"] == 0, "\(name)")
                    let after = try Numbers(mount)
                    #expect(after.grown("hits_zero", since: before) >= Self.blocks, "\(name)")
                    #expect(after["unique_bytes"] == size && after["cached_bytes"] == 3 * size)
                }
                // A change of one copy changes no other.
                let changed = pattern(4096, seed: 9)
                try OpenFile(mount.path("two"), O_RDWR).write(changed, at: 4096)
                let original = Content.blocks(seed: 3, count: Self.blocks)
                #expect(try readDirect(mount.path("one")) == original)
                #expect(try readDirect(mount.path("three")) == original)
                #expect(try Array(readDirect(mount.path("two"))[4096..<8192]) == changed)
            }
        }

        /// Whatever changes a file through the mount is what is read next.
        @Test func changesSupersede() throws {
            let size = 64 * 4096
            try withForebay(
                prepare: { try Content.write($0.folderPath("file"), seed: 4, count: 64) }
            ) { mount, datastore in
                let path = mount.path("file")
                var model = Content.blocks(seed: 4, count: 64)
                func expectModel(
                    _ what: String, sourceLocation: SourceLocation = #_sourceLocation
                ) throws {
                    let found = try readDirect(path)
                    #expect(
                        Content.firstDifference(found, model) == nil, "\(what)",
                        sourceLocation: sourceLocation)
                    let below = try Files.read(datastore.folderPath("file"))
                    #expect(
                        Content.firstDifference(below, model) == nil, "\(what), on the datastore",
                        sourceLocation: sourceLocation)
                }
                try expectModel("at first")
                let file = try TestFile(path, O_RDWR)
                for (offset, count) in [(0, 4096), (5_000, 100), (8_191, 2), (40_000, 70_000)] {
                    let bytes = pattern(count, seed: UInt64(offset))
                    try file.write(bytes, at: offset)
                    model.replaceSubrange(offset..<offset + count, with: bytes)
                    try expectModel("write at \(offset)")
                }
                let punch = CPosix_FALLOC_PUNCH_HOLE | CPosix_FALLOC_KEEP_SIZE
                try must { CLinux_fallocate(file.raw, punch, 3_000, 20_000) }
                model.replaceSubrange(3_000..<23_000, with: [UInt8](repeating: 0, count: 20_000))
                try expectModel("punch")
                var (from, to): (Int64, Int64) = (100_000, 7_000)
                let copied = try must {
                    CLinux_copy_range(file.raw, &from, file.raw, &to, 30_000)
                }
                model.replaceSubrange(
                    7_000..<7_000 + copied, with: model[100_000..<100_000 + copied])
                try expectModel("copy")
                try must { ftruncate(file.raw, 50_001) }
                try must { ftruncate(file.raw, off_t(size)) }
                model = Array(model[..<50_001]) + [UInt8](repeating: 0, count: size - 50_001)
                try expectModel("truncate")
                try must { ftruncate(file.raw, 0) }
                model = []
                try expectModel("empty")
                try file.write(pattern(10), at: 20_000)
                model = [UInt8](repeating: 0, count: 20_000) + pattern(10)
                try expectModel("hole")
            }
        }

        /// Another file under a name that was cached is another file.
        @Test func reusedNames() throws {
            try withForebay(
                prepare: { try Content.write($0.folderPath("file"), seed: 5, count: 16) }
            ) { mount, _ in
                let path = mount.path("file")
                for seed in 6..<12 as Range<UInt64> {
                    _ = try readDirect(path)
                    if seed % 2 == 0 {
                        try call { unlink(path) }
                        try Content.write(path, seed: seed, count: 16)
                    } else {
                        try Content.write(mount.path("other"), seed: seed, count: 16)
                        try call { rename(mount.path("other"), path) }
                    }
                    #expect(try readDirect(path) == Content.blocks(seed: seed, count: 16))
                }
            }
        }
    }
}
