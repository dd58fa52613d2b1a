import CLinux
import CPosix
import Glibc
import Syscalls
import Testing

extension PosixTests {
    /// Holes, allocation, limits of size and copies inside the kernel.
    @Suite struct PosixSpaceTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        private let block = 65_536

        @Test func holes() throws {
            let file = try TestFile(folder("file"))
            try must { ftruncate(file.raw, off_t(16 * block)) }
            try file.write(pattern(block), at: 4 * block)
            try file.write(pattern(block), at: 10 * block)
            try must { fsync(file.raw) }
            let found = try status(of: file)
            #expect(found.size == UInt64(16 * block))
            #expect(found.blocks * 512 < UInt64(4 * block), "sparse stays sparse")
            func next(_ kind: Int32, _ offset: Int) -> Int {
                Int(CLinux_seek(file.raw, Int64(offset), kind))
            }
            let (data, hole) = (CPosix_SEEK_DATA, CPosix_SEEK_HOLE)
            #expect(next(data, 0) == 4 * block)
            #expect(next(hole, 0) == 0)
            #expect(next(hole, 4 * block) == 5 * block)
            #expect(next(data, 5 * block) == 10 * block)
            #expect(next(data, 10 * block + 100) == 10 * block + 100)
            #expect(next(hole, 15 * block) == 15 * block)
            expect(.noDevice) { CLinux_seek(file.raw, Int64(12 * block), data) }
            expect(.noDevice) { CLinux_seek(file.raw, Int64(16 * block), hole) }
            expect(.noDevice) { CLinux_seek(file.raw, -1, data) }
            let zeros = [UInt8](repeating: 0, count: block)
            #expect(try file.read(block, at: 0) == zeros)
            #expect(try file.read(block, at: 9 * block) == zeros)
            #expect(try file.read(block, at: 15 * block) == zeros)
            // Reading a hole does not fill it.
            #expect(try status(of: file).blocks == found.blocks)
        }

        @Test func allocating() throws {
            let file = try TestFile(folder("file"))
            let keep = CPosix_FALLOC_KEEP_SIZE
            try must { CLinux_fallocate(file.raw, keep, 0, Int64(8 * block)) }
            #expect(try status(of: file).size == 0)
            #expect(try status(of: file).blocks * 512 >= UInt64(8 * block))
            try must { CLinux_fallocate(file.raw, 0, Int64(block), Int64(block)) }
            #expect(try status(of: file).size == UInt64(2 * block))
            #expect(try file.read(3 * block) == [UInt8](repeating: 0, count: 2 * block))
            try file.write(pattern(2 * block))
            try must { CLinux_fallocate(file.raw, 0, 0, Int64(2 * block)) }
            #expect(try file.read(2 * block) == pattern(2 * block), "allocating changes no data")
        }

        @Test func punching() throws {
            let model = pattern(8 * block)
            let file = try TestFile(folder("file"))
            try file.write(model)
            _ = try file.read(8 * block)
            try must { fsync(file.raw) }
            let full = try status(of: file).blocks
            let punch = CPosix_FALLOC_PUNCH_HOLE | CPosix_FALLOC_KEEP_SIZE
            try must { CLinux_fallocate(file.raw, punch, Int64(block - 7), Int64(3 * block)) }
            let zeros = [UInt8](repeating: 0, count: 3 * block)
            let expected = Array(model[..<(block - 7)]) + zeros + Array(model[(4 * block - 7)...])
            #expect(try file.read(8 * block) == expected)
            #expect(try status(of: file).blocks < full)
            #expect(try status(of: file).size == UInt64(8 * block))
            // Beyond the end it changes nothing, not the size either.
            try must { CLinux_fallocate(file.raw, punch, Int64(20 * block), Int64(block)) }
            #expect(try status(of: file).size == UInt64(8 * block))
            expect(.notSupported) {
                CLinux_fallocate(file.raw, CPosix_FALLOC_PUNCH_HOLE, 0, Int64(block))
            }
        }

        @Test func zeroing() throws {
            let model = pattern(4 * block)
            let file = try TestFile(folder("file"))
            try file.write(model)
            _ = try file.read(4 * block)
            let zero = CPosix_FALLOC_ZERO_RANGE
            let result = failure { CLinux_fallocate(file.raw, zero, Int64(block), Int64(block)) }
            // A file system without it (tmpfs, NFS before 4.2) says so and changes nothing.
            guard result == nil else {
                #expect(result == .notSupported)
                #expect(try file.read(4 * block) == model)
                return
            }
            let zeros = [UInt8](repeating: 0, count: block)
            #expect(
                try file.read(4 * block)
                    == Array(model[..<block]) + zeros + Array(model[(2 * block)...]))
            try must { CLinux_fallocate(file.raw, zero, Int64(4 * block), Int64(block)) }
            #expect(try status(of: file).size == UInt64(5 * block))
            try must {
                CLinux_fallocate(
                    file.raw, zero | CPosix_FALLOC_KEEP_SIZE, Int64(5 * block), Int64(block))
            }
            #expect(try status(of: file).size == UInt64(5 * block))
        }

        /// Collapsing and inserting: the kernel's FUSE refuses both; where they work, they work.
        @Test func collapsingAndInserting() throws {
            let model = pattern(4 * block)
            let file = try TestFile(folder("file"))
            try file.write(model)
            try must { fsync(file.raw) }
            let collapse = CPosix_FALLOC_COLLAPSE_RANGE
            let error = failure { CLinux_fallocate(file.raw, collapse, 0, Int64(block)) }
            if error == nil {
                #expect(try file.read(4 * block) == Array(model[block...]))
                let insert = CPosix_FALLOC_INSERT_RANGE
                try must { CLinux_fallocate(file.raw, insert, 0, Int64(block)) }
                #expect(try status(of: file).size == UInt64(4 * block))
            } else {
                #expect(error == .notSupported)
                #expect(try file.read(4 * block) == model)
            }
        }

        @Test func allocationErrors() throws {
            let path = try folder.file("file", [1])
            let file = try TestFile(path, O_RDWR)
            let reader = try TestFile(path, O_RDONLY)
            let directory = try TestFile(folder.path, O_RDONLY | O_DIRECTORY)
            expect(.invalid) { CLinux_fallocate(file.raw, 0, 0, 0) }
            expect(.invalid) { CLinux_fallocate(file.raw, 0, -1, 10) }
            expect(.invalid) { CLinux_fallocate(file.raw, 0, 0, -1) }
            expect(.badDescriptor) { CLinux_fallocate(reader.raw, 0, 0, 10) }
            expect(.badDescriptor) { CLinux_fallocate(directory.raw, 0, 0, 10) }
            expect(.fileTooBig) { CLinux_fallocate(file.raw, 0, Int64.max - 5, 5) }
            #expect(try contents(path) == [1])
        }

        @Test func farOffsets() throws {
            let file = try TestFile(folder("file"))
            let far = 8 << 40
            try file.write(pattern(10_000), at: far)
            #expect(try status(of: file).size == UInt64(far + 10_000))
            #expect(try file.read(20_000, at: far) == pattern(10_000))
            #expect(try file.read(4096, at: far - 4096) == [UInt8](repeating: 0, count: 4096))
            #expect(try file.read(4096, at: 4 << 40) == [UInt8](repeating: 0, count: 4096))
            try must { fsync(file.raw) }
            #expect(try status(of: file).blocks < 1000)
            #expect(Int(CLinux_seek(file.raw, 0, CPosix_SEEK_DATA)) <= far)
            try must { ftruncate(file.raw, off_t(far) + 5) }
            #expect(try file.read(20_000, at: far) == Array(pattern(10_000)[..<5]))
            expect(.fileTooBig) { ftruncate(file.raw, off_t.max) }
            var byte: UInt8 = 1
            expect(.fileTooBig) { pwrite(file.raw, &byte, 1, off_t.max - 1) }
            #expect(try status(of: file).size == UInt64(far + 5))
        }

        /// RLIMIT_FSIZE: a write stops at the limit, one that begins there fails with EFBIG and
        /// SIGXFSZ.
        @Test func limitOfSize() throws {
            let path = try folder.file("file", pattern(1000))
            var written: Int64 = 0
            #expect(CPosix_limited(path, 10_000, 9_000, 5_000, 1, &written) == 0)
            #expect(written == 1_000)
            #expect(try status(path).size == 10_000)
            #expect(CPosix_limited(path, 10_000, 10_000, 1, 1, &written) == EFBIG)
            #expect(CPosix_limited(path, 10_000, 10_000, 1, 0, &written) == -SIGXFSZ)
            #expect(CPosix_limited(path, 10_000, 10_001, 0, 1, &written) == EFBIG)
            #expect(CPosix_limited(path, 10_000, 9_999, 0, 1, &written) == 0)
            #expect(CPosix_limited(path, 10_000, 20, 100, 1, &written) == 0)
            #expect(try status(path).size == 9_999)
        }

        @Test func copyingInTheKernel() throws {
            let model = pattern(10 * block)
            let source = try TestFile(folder("source"))
            let target = try TestFile(folder("target"))
            try source.write(model)
            try target.write(pattern(10 * block, seed: 2))
            _ = try target.read(10 * block)
            var from: Int64 = 100
            var to: Int64 = 7
            var left = 5 * block
            while left > 0 {
                left -= try must {
                    CLinux_copy_range(source.raw, &from, target.raw, &to, left)
                }
            }
            var expected = pattern(10 * block, seed: 2)
            expected.replaceSubrange(7..<(7 + 5 * block), with: model[100..<(100 + 5 * block)])
            #expect(try target.read(10 * block) == expected)
            #expect(from == 100 + Int64(5 * block) && to == 7 + Int64(5 * block))
            // Copying past the end of the source copies what there is, then nothing.
            from = Int64(10 * block - 10)
            to = Int64(20 * block)
            #expect(CLinux_copy_range(source.raw, &from, target.raw, &to, block) == 10)
            #expect(CLinux_copy_range(source.raw, &from, target.raw, &to, block) == 0)
            #expect(try status(of: target).size == UInt64(20 * block + 10))
            #expect(try target.read(100, at: 20 * block) == Array(model[(10 * block - 10)...]))
            from = 0
            to = 10
            expect(.invalid) { CLinux_copy_range(source.raw, &from, source.raw, &to, 100) }
        }

        @Test func splicing() throws {
            let model = pattern(300_000)
            let path = try folder.file("source", model)
            let source = try TestFile(path, O_RDONLY)
            let target = try TestFile(folder("target"))
            var offset: Int64 = 0
            while offset < 300_000 {
                try must { CPosix_sendfile(target.raw, source.raw, &offset, 300_000) }
            }
            #expect(try contents(folder("target")) == model)
            var ends: [Int32] = [-1, -1]
            try must { pipe(&ends) }
            let pipes = ends.map { TestFile(owning: $0) }
            let other = try TestFile(folder("other"))
            var from: Int64 = 0
            var to: Int64 = 0
            while from < 300_000 {
                let count = try must {
                    CPosix_splice(source.raw, &from, pipes[1].raw, nil, 30_001)
                }
                var left = count
                while left > 0 {
                    left -= try must { CPosix_splice(pipes[0].raw, nil, other.raw, &to, left) }
                }
            }
            #expect(try contents(folder("other")) == model)
        }
    }
}
