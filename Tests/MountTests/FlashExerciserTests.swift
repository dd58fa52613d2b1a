import CLinux
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What is tested of files everywhere, on a mount whose flash answers most reads.
    @Suite(.serialized) struct FlashExerciserTests {
        private static let isLong = getenv("FOREBAY_TEST_LONG") != nil

        /// Runs `body` while reads of a file that RAM has no room for push everything else out of
        /// it. Fails when flash answered nothing that `body` read.
        private func withPressure(
            _ body: (Place, ForebayMount) throws -> Void
        ) throws {
            try withFlash(
                size: 128 << 20,
                prepare: { try Content.write($0.folderPath("large"), seed: 1, count: 6144) }
            ) { mount, datastore, _ in
                // Users that are not root must be able to reach both.
                for path in [datastore.folder, datastore.path + "/..", mount.path + "/.."] {
                    try must { chmod(path, 0o755) }
                }
                let path = mount.path("large")
                let pressure = try Workload([
                    ("large", { try VerifiedReads(path, seed: 1, blocks: 6144, most: 64) })
                ])
                defer { pressure.stop() }
                let place = Place(folder: mount.path, backing: datastore.folder)
                try Place.$current.withValue(place) { try body(place, mount) }
                pressure.stop()
                #expect(pressure.failures == [])
                let pushed = try Numbers(mount, "large")
                let others = try Self.served(mount)
                #expect(others > 0, "flash answered what was tested")
                #expect(pushed["hits_flash"] > 0, "and what pushed it out")
                print("\(others) blocks of what was tested came from flash")
            }
        }

        /// Blocks of files other than the large one that flash answered.
        private static func served(_ mount: ForebayMount) throws -> Int {
            let all = try Numbers(mount)
            return try all["hits_flash"] - Numbers(mount, "large")["hits_flash"]
        }

        /// Four files under every kind of access, large enough that RAM does not keep them.
        @Test func everyOperation() throws {
            var seeds = SplitMix64.announced()
            let all = (0..<4).map { _ in seeds.next() }
            try withPressure { place, mount in
                let folder = try TestFolder()
                let path = folder.path
                // On a quick machine the first round ends before anything is pushed out of RAM.
                for round in 0..<30 {
                    try concurrently(4) { number in
                        try Place.$current.withValue(place) {
                            let file = "\(path)/file-\(round)-\(number)"
                            try Content.write(file, seed: UInt64(number), count: 400)
                            let kind = Exerciser.Kind(unaligned: true, range: 0..<800 * 4096)
                            var exerciser = try Exerciser(
                                file, kind: kind, seed: all[number] &+ UInt64(round))
                            try exerciser.run(Self.isLong ? 10_000 : 500)
                        }
                    }
                    let pushed = try Numbers(mount, "large")["hits_flash"]
                    if try pushed > 0 && Self.served(mount) > 0 { break }
                }
            }
        }

        /// Files of POSIX tests are small and soon gone: here they share the mount with what keeps
        /// flash busy.
        @Test(.enabled(if: isLong, "half a minute: FOREBAY_TEST_LONG"))
        func posixFiles() throws {
            try withPressure { place, mount in
                let tests: [() throws -> Void] = [
                    { try PosixTests.PosixFileTests().unalignedReadsAndWrites() },
                    { try PosixTests.PosixFileTests().removedWhileOpen() },
                    { try PosixTests.PosixMappingTests().sharedMappings() },
                    { try PosixTests.PosixMappingTests().mappingAndTruncation() },
                    { try PosixTests.PosixMappingTests().unalignedDirect() },
                    { try PosixTests.PosixMappingTests().directAndBufferedTogether() },
                    { try PosixTests.PosixSpaceTests().holes() },
                    { try PosixTests.PosixSpaceTests().punching() },
                    { try PosixTests.PosixSpaceTests().zeroing() },
                    { try PosixTests.PosixSpaceTests().farOffsets() },
                    { try PosixTests.PosixSpaceTests().copyingInTheKernel() },
                ]
                for test in tests { try test() }
                // What was tested is read from flash as well.
                let folder = try TestFolder()
                let file = try folder.file("last", Content.blocks(seed: 9, count: 256))
                let isServed = try eventually(within: 30) {
                    let before = try Numbers(mount, String(file.dropFirst(mount.path.count + 1)))
                    try #require(try readDirect(file) == Content.blocks(seed: 9, count: 256))
                    return before["hits_flash"] > 0
                }
                #expect(isServed)
            }
        }
    }
}
