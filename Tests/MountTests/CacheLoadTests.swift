import CLinux
import Glibc
import Synchronization
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// The read cache under readers that come together, in sequence, or in masses.
    @Suite(.serialized) struct CacheLoadTests {
        /// Eight readers of one cold file make the datastore read it once.
        @Test func readersOfOneColdFile() throws {
            let blocks = 512
            try withForebay(
                prepare: { try Content.write($0.folderPath("file"), seed: 1, count: blocks) }
            ) { mount, datastore in
                let expected = Content.blocks(seed: 1, count: blocks)
                try datastore.setLatency("read", microseconds: 50_000)
                try datastore.resetCounts()
                let path = mount.path("file")
                let wrong = Atomic(0)
                try concurrently(8) { _ in
                    if try readDirect(path, chunk: 65_536) != expected {
                        wrong.add(1, ordering: .relaxed)
                    }
                }
                #expect(wrong.load(ordering: .relaxed) == 0)
                let read = try datastore.counts().readBytes
                #expect(read >= UInt64(expected.count), "the file was cold")
                #expect(read <= UInt64(expected.count) * 5 / 4, "\(read) bytes")
            }
        }

        /// Who reads one block after another gets the next ones in large reads.
        @Test func readAhead() throws {
            let blocks = 1024
            try withForebay(
                prepare: { try Content.write($0.folderPath("file"), seed: 2, count: blocks) }
            ) { mount, datastore in
                try datastore.resetCounts()
                let found = try readDirect(mount.path("file"), chunk: 4096)
                #expect(found == Content.blocks(seed: 2, count: blocks))
                let counts = try datastore.counts()
                #expect(counts["read"] < UInt64(blocks / 8), "\(counts["read"]) reads")
                #expect(counts.readBytes <= UInt64(blocks * 4096) * 5 / 4)
                let numbers = try Numbers(mount, "file")
                #expect(numbers["misses"] < blocks / 2)
                #expect(numbers["misses"] + numbers["hits_ram"] == blocks)
            }
        }

        /// A write overtakes a read of the same block that still waits for the datastore: what the
        /// read brings is old and must not be kept.
        @Test func fillsThatRaceWrites() throws {
            try withForebay(
                prepare: { try Content.write($0.folderPath("file"), seed: 3, count: 64) }
            ) { mount, datastore in
                let path = mount.path("file")
                let file = try TestFile(path, O_RDWR | CLinux_O_DIRECT)
                for round in 0..<4 as Range<UInt64> {
                    try mount.drop("file")
                    try datastore.hang("read")
                    let reader = try Thread(name: "reader") {
                        _ = try? DirectReader(path).once(4096, at: 4096 * 7)
                    }
                    try datastore.waitUntilHeld(1)
                    let buffer = AlignedBuffer(4096)
                    let bytes = pattern(4096, seed: round)
                    buffer.bytes.copyBytes(from: bytes)
                    let (raw, memory) = (file.raw, UInt(bitPattern: buffer.bytes.baseAddress))
                    // Whether the write waits for the read or passes it is the server's choice.
                    let done = SharedFlag()
                    let writer = try Thread(name: "writer") {
                        pwrite(raw, UnsafeRawPointer(bitPattern: memory), 4096, 4096 * 7)
                        done.set()
                    }
                    _ = eventually(within: 1) { done.isSet }
                    try datastore.unhang("read")
                    reader.join()
                    writer.join()
                    withExtendedLifetime(buffer) {}
                    #expect(try DirectReader(path).once(4096, at: 4096 * 7) == bytes)
                    #expect(try DirectReader(path).once(4096, at: 4096 * 7) == bytes)
                }
            }
        }

        /// A backup that reads everything once does not push out what is read again and again.
        @Test func scansLeaveTheWorkingSet() throws {
            let ram = 16 << 20
            let (hotBlocks, scanBlocks) = (ram / 2 / 4096, 4 * ram / 4096)
            let backing = try TemporaryFolder("scan")
            try Content.write(backing.path("hot"), seed: 4, count: hotBlocks)
            try Content.write(backing.path("scan"), seed: 5, count: scanBlocks)
            try withForebay(over: backing.path, options: ["ram=16M"]) { mount in
                for _ in 0..<3 { _ = try readDirect(mount.path("hot")) }
                let before = try Numbers(mount, "hot")
                _ = try readDirect(mount.path("scan"))
                let warm = try Numbers(mount, "scan")
                #expect(warm["misses"] + warm["hits_ram"] >= scanBlocks, "the scan read it all")
                let found = try readDirect(mount.path("hot"))
                #expect(found == Content.blocks(seed: 4, count: hotBlocks))
                let after = try Numbers(mount, "hot")
                let hits = after.grown("hits_ram", since: before)
                #expect(hits > hotBlocks * 9 / 10, "\(hits) of \(hotBlocks)")
            }
        }

        /// More than fits is read correctly, and the tier stays within its size.
        @Test func moreThanFits() throws {
            let backing = try TemporaryFolder("large")
            try Content.write(backing.path("file"), seed: 6, count: 8192)
            try withForebay(over: backing.path, options: ["ram=16M"]) { mount in
                var random = SplitMix64.announced()
                let reader = try DirectReader(mount.path("file"))
                for _ in 0..<6_000 {
                    let number = Int.random(in: 0..<8192, using: &random)
                    let found = try reader.once(4096, at: number * 4096)
                    let expected = Content.block(seed: 6, number: UInt64(number))
                    try #require(found == expected, "block \(number)")
                }
                let numbers = try Numbers(mount)
                #expect(numbers["cached_bytes"] <= 16 << 20)
                #expect(numbers["cached_bytes"] >= 8 << 20)
            }
        }
    }
}

/// A flag that one thread sets and another one looks at.
final class SharedFlag: Sendable {
    private let value = Atomic(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}
