import CLinux
import Glibc
import Passthrough
import Syscalls
import TestSupport
import Testing

@Suite struct FileHandleTests {
    /// Clients keep node ids in their file handles for years: the hash must never change.
    @Test func nodeIDsOfKnownHandlesStayTheSame() {
        let known: [(type: Int32, bytes: [UInt8], plain: UInt64, salted: UInt64)] = [
            (
                1, [],
                0x0d7c_ea42_b505_7e4c, 0x9bea_fea4_49d3_6ba7
            ),
            (
                1, [0, 0, 0, 0, 0, 0, 0, 0],
                0x50a6_6b22_2f4b_771f, 0x4e1d_4a18_a06e_2d8c
            ),
            (
                1, [2, 0, 0, 0, 0, 0, 0, 0],
                0x4c3d_bdf2_0344_ad2e, 0xf452_0645_f79d_d4d7
            ),
            (
                0x81, Array(0..<28),
                0xbac1_9332_bd49_018c, 0xc457_20a3_a9b1_f2dd
            ),
            (
                -1, Array(0..<24),
                0xc940_06f0_abd9_e14d, 0x9163_d4b8_8e0e_4172
            ),
            (
                1, [UInt8](repeating: 255, count: 128),
                0xe3c1_ff65_d957_aaad, 0x59ee_7dbe_bda0_afcd
            ),
        ]
        for (type, bytes, plain, salted) in known {
            let handle = FileHandle(type: type, bytes: bytes)
            #expect(handle.nodeID().rawValue == plain)
            #expect(handle.nodeID(salt: 1).rawValue == salted)
        }
    }

    @Test func nodeIDsAreNeverReservedAndDoNotMeet() {
        var generator = SplitMix64(seed: 1)
        var seen: Set<UInt64> = []
        for _ in 0..<20_000 {
            let handle = FileHandle(type: 1, bytes: generator.bytes(8))
            for salt in 0..<2 {
                let node = handle.nodeID(salt: UInt64(salt))
                seen.insert(node.rawValue)
            }
        }
        #expect(seen.count == 40_000)
        #expect(seen.allSatisfy { $0 > 1 })
    }

    /// Handles of one file system differ in a few bits only.
    @Test func neighboursSpreadOverAllBits() {
        let nodes = (0..<256).map { number in
            FileHandle(type: 1, bytes: [UInt8(number), 0, 0, 0]).nodeID().rawValue
        }
        for bit in 0..<64 {
            let ones = nodes.filter { $0 >> UInt64(bit) & 1 == 1 }.count
            #expect((80..<176).contains(ones), "bit \(bit)")
        }
    }

    @Test func theTypeIsPartOfTheIdentity() {
        let one = FileHandle(type: 1, bytes: [1, 2, 3])
        let other = FileHandle(type: 2, bytes: [1, 2, 3])
        #expect(one != other)
        #expect(one.nodeID() != other.nodeID())
    }

    @Test func aDerivedHandleFollowsFromNumberAndBirth() {
        var attributes = Attributes()
        attributes.inode = 0x0102_0304
        attributes.born_seconds = -2
        attributes.born_nanoseconds = 7
        attributes.size = 99
        let handle = FileHandle.derived(from: attributes)
        #expect(handle.isDerived)
        #expect(handle.bytes.count == 24)
        #expect(Array(handle.bytes.prefix(8)) == [4, 3, 2, 1, 0, 0, 0, 0])
        attributes.size = 100
        #expect(FileHandle.derived(from: attributes) == handle)
        // The number is given again to a later file, which has another birth.
        attributes.born_nanoseconds = 8
        #expect(FileHandle.derived(from: attributes) != handle)
        #expect(!FileHandle(type: 1, bytes: []).isDerived)
    }

    @Test func aHandleSurvivesARename() throws {
        let folder = try TemporaryFolder()
        try Files.write(folder.path("a"), "text")
        let before = try handle(folder.path("a"))
        #expect(rename(folder.path("a"), folder.path("b")) == 0)
        let after = try handle(folder.path("b"))
        #expect(after == before)
        try Files.write(folder.path("a"), "text")
        let fresh = try handle(folder.path("a"))
        #expect(fresh != before)
    }

    private func handle(_ path: String) throws -> FileHandle {
        let file = try OpenFile(path, O_RDONLY)
        return try FileHandle.of(descriptor: file.raw).handle
    }
}
