import CLinux
import CPosix
import Glibc
import Syscalls
import TestSupport
import Testing

extension PosixTests {
    /// Memory maps and O_DIRECT, alone and mixed with buffered access to the same file.
    @Suite struct PosixMappingTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        private func map(
            _ file: TestFile, _ size: Int, flags: Int32 = MAP_SHARED,
            protection: Int32 = PROT_READ | PROT_WRITE,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws -> UnsafeMutableRawBufferPointer {
            let address = mmap(nil, size, protection, flags, file.raw, 0)
            let base = try #require(
                address != MAP_FAILED ? address : nil, "\(Errno.last)",
                sourceLocation: sourceLocation)
            return UnsafeMutableRawBufferPointer(start: base, count: size)
        }

        @Test func sharedMappings() throws {
            let size = 300_000
            let path = try folder.file("file", pattern(size))
            let file = try TestFile(path, O_RDWR)
            let memory = try map(file, size)
            defer { munmap(memory.baseAddress, size) }
            #expect(Array(memory) == pattern(size))
            // What is written to the map is read from the file, and the other way round.
            memory.copyBytes(from: pattern(5000, seed: 2))
            #expect(try file.read(5000) == pattern(5000, seed: 2))
            try file.write(pattern(7000, seed: 3), at: 100_000)
            #expect(Array(memory[100_000..<107_000]) == pattern(7000, seed: 3))
            try must { msync(memory.baseAddress, size, Int32(MS_SYNC)) }
            var expected = pattern(size)
            expected.replaceSubrange(..<5000, with: pattern(5000, seed: 2))
            expected.replaceSubrange(100_000..<107_000, with: pattern(7000, seed: 3))
            #expect(try contents(path) == expected)
            if let backing = Place.current?.backing {
                let name = String(folder.path.split(separator: "/").last ?? "")
                #expect(try contents("\(backing)/\(name)/file") == expected)
            }
        }

        @Test func privateMappings() throws {
            let path = try folder.file("file", pattern(10_000))
            let file = try TestFile(path, O_RDONLY)
            let memory = try map(file, 10_000, flags: MAP_PRIVATE)
            defer { munmap(memory.baseAddress, 10_000) }
            memory[5000] = ~pattern(10_000)[5000]
            #expect(try contents(path) == pattern(10_000))
            #expect(memory[5000] != pattern(10_000)[5000])
            expect(.accessDenied) {
                mmap(nil, 4096, PROT_WRITE, MAP_SHARED, file.raw, 0) == MAP_FAILED ? -1 : 0
            }
        }

        /// A map stays valid when the file has no name and no descriptor any more.
        @Test func mappingOfRemovedFile() throws {
            let path = try folder.file("file", pattern(100_000))
            let file = try TestFile(path, O_RDWR)
            let memory = try map(file, 100_000)
            defer { munmap(memory.baseAddress, 100_000) }
            file.close()
            try must { unlink(path) }
            #expect(Array(memory) == pattern(100_000))
            memory.copyBytes(from: pattern(100_000, seed: 2))
            try must { msync(memory.baseAddress, 100_000, Int32(MS_SYNC)) }
            #expect(Array(memory) == pattern(100_000, seed: 2))
        }

        /// The map of a file that shrinks and grows again shows zeros where it grew.
        @Test func mappingAndTruncation() throws {
            let path = try folder.file("file", pattern(20_000))
            let file = try TestFile(path, O_RDWR)
            let memory = try map(file, 20_000)
            defer { munmap(memory.baseAddress, 20_000) }
            #expect(memory[19_999] == pattern(20_000)[19_999])
            try must { ftruncate(file.raw, 5_000) }
            try must { ftruncate(file.raw, 20_000) }
            let zeros = [UInt8](repeating: 0, count: 15_000)
            #expect(Array(memory) == Array(pattern(20_000)[..<5_000]) + zeros)
        }

        @Test func alignedDirect() throws {
            let path = folder("file")
            let file = try TestFile(path, O_RDWR | O_CREAT | CLinux_O_DIRECT)
            let buffer = AlignedBuffer(1 << 20)
            buffer.bytes.copyBytes(from: pattern(1 << 20))
            try must { pwrite(file.raw, buffer.bytes.baseAddress, 1 << 20, 0) }
            #expect(try contents(path) == pattern(1 << 20))
            buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0)
            for (offset, count) in [(0, 4096), (4096, 65_536), (512 * 1024, 512 * 1024)] {
                try must { pread(file.raw, buffer.bytes.baseAddress, count, offset) }
                let expected = pattern(1 << 20)[offset..<offset + count]
                #expect(buffer.bytes[..<count].elementsEqual(expected))
            }
            #expect(pread(file.raw, buffer.bytes.baseAddress, 4096, 1 << 20) == 0)
        }

        /// A client may use O_DIRECT at any alignment: the datastore's rules are not its business.
        /// A local file system refuses what is not aligned.
        @Test func unalignedDirect() throws {
            let path = try folder.file("file", pattern(100_001))
            let file = try TestFile(path, O_RDWR | CLinux_O_DIRECT)
            var bytes = [UInt8](repeating: 0, count: 10_001)
            let error = failure { pread(file.raw, &bytes, 10_001, 5_003) }
            guard folder.isForebay else {
                #expect(error == nil || error == .invalid)
                return
            }
            #expect(error == nil)
            #expect(bytes == Array(pattern(100_001)[5_003..<15_004]))
            // Up to the end, and across it.
            #expect(pread(file.raw, &bytes, 10_001, 95_000) == 5_001)
            #expect(Array(bytes[..<5_001]) == Array(pattern(100_001)[95_000...]))
            #expect(pread(file.raw, &bytes, 10_001, 100_001) == 0)
            try file.write(pattern(777, seed: 2), at: 4_095)
            try file.write(pattern(3, seed: 3), at: 100_001)
            var expected = pattern(100_001) + pattern(3, seed: 3)
            expected.replaceSubrange(4_095..<4_872, with: pattern(777, seed: 2))
            #expect(try contents(path) == expected)
        }

        /// Each kind of access sees at once what the other kinds wrote.
        @Test func directAndBufferedTogether() throws {
            let size = 1 << 20
            var model = pattern(size)
            let path = try folder.file("file", model)
            let buffered = try TestFile(path, O_RDWR)
            let direct = try TestFile(path, O_RDWR | CLinux_O_DIRECT)
            let memory = try map(buffered, size)
            defer { munmap(memory.baseAddress, size) }
            let buffer = AlignedBuffer(65_536)
            #expect(Array(memory) == model)
            for round in 0..<24 {
                let offset = (round * 37 % 240) * 4096
                let bytes = pattern(8192, seed: UInt64(round) + 10)
                switch round % 3 {
                case 0: try buffered.write(bytes, at: offset)
                case 1:
                    buffer.bytes.copyBytes(from: bytes)
                    try must { pwrite(direct.raw, buffer.bytes.baseAddress, 8192, offset) }
                default:
                    UnsafeMutableRawBufferPointer(rebasing: memory[offset..<offset + 8192])
                        .copyBytes(from: bytes)
                }
                model.replaceSubrange(offset..<offset + 8192, with: bytes)
                #expect(try buffered.read(8192, at: offset) == bytes, "buffered, round \(round)")
                try must { pread(direct.raw, buffer.bytes.baseAddress, 8192, offset) }
                #expect(buffer.bytes[..<8192].elementsEqual(bytes), "direct, round \(round)")
                #expect(
                    memory[offset..<offset + 8192].elementsEqual(bytes), "map, round \(round)")
            }
            #expect(try contents(path) == model)
        }
    }
}
