import CLinux
import CPosix
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What flash answers while the mount lives: what RAM has no room for.
    @Suite(.serialized) struct FlashTests {
        /// 24 MiB: more than RAM has room for.
        private static let blocks = 6144

        @Test func secondRead() throws {
            try withFlash(
                prepare: { try Content.write($0.folderPath("disk"), seed: 1, count: Self.blocks) }
            ) { mount, datastore, medium in
                try fillFlash(mount, "disk", blocks: Self.blocks)
                let again = try FlashReading(mount, datastore, "disk")
                expectSame(again.bytes, Content.blocks(seed: 1, count: Self.blocks))
                #expect(again.misses == 0 && again.datastoreReads == 0, "\(again.text)")
                #expect(again.ram + again.flash == Self.blocks, "\(again.text)")
                #expect(again.flash > Self.blocks / 4, "\(again.text)")
                #expect(try medium.host.counts().readBytes >= again.flash * 4096)
                let single = try FlashReading(mount, datastore, "disk", chunk: 4096)
                expectSame(single.bytes, again.bytes)
                #expect(single.misses == 0 && single.datastoreReads == 0, "\(single.text)")
                #expect(single.flash > 0)
            }
        }

        /// Reads at any place and of any length, of blocks in RAM, in flash, of zeros and on the
        /// datastore, next to one another.
        @Test func mixedReads() throws {
            var model = Content.blocks(seed: 1, count: Self.blocks)
            for start in stride(from: 0, to: Self.blocks, by: 7) {
                model.replaceSubrange(
                    start * 4096..<(start + 1) * 4096, with: repeatElement(0, count: 4096))
            }
            model += pattern(1_000)
            try withFlash(
                prepare: { [model] in try Files.write($0.folderPath("disk"), model) }
            ) { mount, datastore, _ in
                try readEveryOther(mount)
                try remount(mount)
                let warm = try DirectReader(mount.path("disk"))
                var random = SplitMix64.announced()
                let before = try Numbers(mount)
                for _ in 0..<600 {
                    let length = Int.random(in: 1...300_000, using: &random)
                    let offset = Int.random(in: 0..<model.count, using: &random)
                    let bytes = try warm.once(length, at: offset)
                    let expected = Array(model[offset..<min(offset + length, model.count)])
                    try #require(bytes == expected, "\(length) bytes at \(offset)")
                }
                let after = try Numbers(mount)
                for key in ["hits_flash", "hits_ram", "hits_zero", "misses"] {
                    #expect(after.grown(key, since: before) > 0, "\(key)")
                }
            }
        }

        /// Every other MiB is known afterwards.
        private func readEveryOther(_ mount: ForebayMount) throws {
            let reader = try DirectReader(mount.path("disk"))
            for start in stride(from: 0, to: Self.blocks * 4096, by: 2 << 20) {
                _ = try reader.once(1 << 20, at: start)
                sleep(milliseconds: 20)
            }
        }

        /// Contents are stored once in whatever files they stand; zeros take no space.
        @Test func deduplication() throws {
            let count = 1024
            try withFlash(
                prepare: { datastore in
                    for name in ["one", "two"] {
                        try Content.write(datastore.folderPath(name), seed: 3, count: count)
                    }
                    let zeros = [UInt8](repeating: 0, count: count * 4096)
                    try Files.write(datastore.folderPath("zeros"), zeros)
                }
            ) { mount, datastore, _ in
                let size = count * 4096
                #expect(try mount.xattr("unique_bytes_flash") == "0")
                try fillFlash(mount, "one", blocks: count, seed: 3)
                try fillFlash(mount, "two", blocks: count, seed: 3)
                _ = try readDirect(mount.path("zeros"))
                #expect(
                    try eventually { try Numbers(mount)["cached_bytes"] == 2 * size })
                #expect(try mount.xattr("unique_bytes_flash") == "\(size)")
                #expect(try mount.xattr("unique_bytes") == "\(size)")
                #expect(try mount.xattr("dedup_ratio") == "2.00")
                try remount(mount)
                #expect(try mount.xattr("unique_bytes_flash") == "\(size)")
                let expected = Content.blocks(seed: 3, count: count)
                for name in ["one", "two"] {
                    let reading = try FlashReading(mount, datastore, name)
                    expectSame(reading.bytes, expected, name)
                    #expect(reading.misses == 0, "\(reading.text)")
                    #expect(try mount.xattr("cached_bytes", of: name) == "\(size)")
                    if name == "one" { #expect(reading.flash == count, "\(reading.text)") }
                }
                let zeros = try FlashReading(mount, datastore, "zeros")
                #expect(zeros.bytes.count == size && zeros.bytes.allSatisfy { $0 == 0 })
                #expect(zeros.misses == 0 && zeros.zero == count, "\(zeros.text)")
            }
        }

        /// Whatever changes a file is what is read next, and after another mount.
        @Test func changesSupersede() throws {
            let count = 1024
            try withFlash(
                prepare: { try Content.write($0.folderPath("disk"), seed: 4, count: count) }
            ) { mount, datastore, _ in
                try fillFlash(mount, "disk", blocks: count, seed: 4)
                var model = Content.blocks(seed: 4, count: count)
                for round in 0..<4 as Range<UInt64> {
                    // Nothing is in RAM: what is changed now is in flash only.
                    try remount(mount)
                    #expect(try readDirect(mount.path("disk")) == model)
                    #expect(try Numbers(mount)["hits_flash"] > count / 2)
                    let file = try TestFile(mount.path("disk"), O_RDWR)
                    try change(file, &model, round)
                    let found = try readDirect(mount.path("disk"))
                    expectSame(found, model, "round \(round)")
                    let below = try Files.read(datastore.folderPath("disk"))
                    expectSame(below, model, "round \(round), on the datastore")
                }
            }
        }

        private func change(
            _ file: borrowing TestFile, _ model: inout [UInt8], _ round: UInt64
        ) throws {
            let size = model.count
            switch round {
            case 0:
                for (offset, count) in [(0, 4096), (5_000, 100), (1 << 20, 70_000)] {
                    let bytes = pattern(count, seed: UInt64(offset))
                    try file.write(bytes, at: offset)
                    model.replaceSubrange(offset..<offset + count, with: bytes)
                }
            case 1:
                let punch = CPosix_FALLOC_PUNCH_HOLE | CPosix_FALLOC_KEEP_SIZE
                try must { CLinux_fallocate(file.raw, punch, 30_000, 200_000) }
                model.replaceSubrange(
                    30_000..<230_000, with: repeatElement(0, count: 200_000))
            case 2:
                var (from, to): (Int64, Int64) = (2 << 20, 7_000)
                let copied = try must {
                    CLinux_copy_range(file.raw, &from, file.raw, &to, 300_000)
                }
                #expect(copied > 0)
                model.replaceSubrange(
                    7_000..<7_000 + copied, with: model[2 << 20..<(2 << 20) + copied])
            default:
                try must { ftruncate(file.raw, 1_000_001) }
                try must { ftruncate(file.raw, off_t(size)) }
                model.replaceSubrange(
                    1_000_001..., with: repeatElement(0, count: size - 1_000_001))
            }
        }

        /// A file that is gone takes its blocks along; what another file has of them stays.
        @Test func removal() throws {
            let count = 512
            try withFlash(
                prepare: { datastore in
                    for name in ["gone", "kept"] {
                        try Content.write(datastore.folderPath(name), seed: 5, count: count)
                    }
                }
            ) { mount, datastore, _ in
                try fillFlash(mount, "gone", blocks: count, seed: 5)
                try fillFlash(mount, "kept", blocks: count, seed: 5)
                #expect(try eventually { try Numbers(mount)["cached_bytes"] == 2 * count * 4096 })
                try must { unlink(mount.path("gone")) }
                #expect(try eventually { try Numbers(mount)["cached_bytes"] == count * 4096 })
                try Content.write(mount.path("gone"), seed: 6, count: count)
                try remount(mount)
                expectSame(
                    try readDirect(mount.path("gone")), Content.blocks(seed: 6, count: count))
                let kept = try FlashReading(mount, datastore, "kept")
                expectSame(kept.bytes, Content.blocks(seed: 5, count: count))
                #expect(kept.flash == count && kept.misses == 0, "\(kept.text)")
            }
        }
    }
}
