import CLinux
import Glibc
import Passthrough
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// Whatever changes a file, the next read sees it.
@Suite struct SupersedeTests {
    private let fixture: Fixture
    private let block = Content.blockSize

    init() throws { fixture = try Fixture() }

    /// Caches a file, changes it, and compares what is read with what the datastore has.
    private func check(
        _ blocks: Int = 64, sourceLocation: SourceLocation = #_sourceLocation,
        _ change: (NodeID) throws -> Void
    ) throws {
        let node = try fixture.file("file", Content.blocks(seed: 1, count: blocks))
        #expect(try fixture.read(node).count == blocks * block)
        do {
            try change(node)
        } catch let error as Errno where error == .notSupported {
            return
        }
        let expected = try Files.read(fixture.backing("file"))
        for _ in 0..<2 {
            let found = try fixture.read(node)
            let difference = Content.firstDifference(found, expected)
            #expect(difference == nil, sourceLocation: sourceLocation)
        }
        let size = try fixture.datastore.attributes(node).size
        #expect(size == UInt64(expected.count), sourceLocation: sourceLocation)
    }

    @Test func aWriteReplacesItsBlocksOnly() throws {
        try check { try fixture.write($0, 5 * block + 100, [1, 2, 3]) }
        let node = try fixture.datastore.lookup(parent: .root, name: "file").node
        _ = try fixture.read(node)
        try fixture.write(node, 10 * block - 1, [UInt8](repeating: 7, count: block + 2))
        let met = try fixture.blocks(node) { _ = try fixture.read(node, 0, 64 * block) }
        #expect(met.hits == 61)
        #expect(met.misses == 3)
    }

    @Test func writesOfEverySizeAndPlace() throws {
        var generator = SplitMix64(seed: 5)
        for _ in 0..<20 {
            try check {
                let count = Int.random(in: 1...70_000, using: &generator)
                let offset = Int.random(in: 0...(70 * block), using: &generator)
                try fixture.write($0, offset, generator.bytes(count))
            }
        }
    }

    @Test func durableWritesAreWritesToo() throws {
        try check { try fixture.write($0, 0, [9], flags: O_SYNC) }
        try check { try fixture.write($0, 4095, [9, 9], flags: O_DSYNC) }
    }

    @Test func writesCount() throws {
        let node = try fixture.file("file", [])
        try fixture.write(node, 10, [UInt8](repeating: 1, count: 5000))
        let report = try fixture.statistics(node)
        #expect(report.writes == 1)
        #expect(report.writeBytes == 5000)
        #expect(report.backendWrites == 1)
        #expect(report.backendWriteBytes == 5000)
        #expect(try fixture.datastore.attributes(node).size == 5010)
    }

    @Test func truncating() throws {
        for size in [0, 1, 4095, 4096, 4097, 100_000, 64 * block, 64 * block + 5, 300_000] {
            try check { try fixture.truncate($0, size) }
        }
    }

    /// What was cut off must not come back when the file grows again.
    @Test func growingAfterCuttingReadsZeros() throws {
        try check { node in
            try fixture.truncate(node, 5000)
            _ = try fixture.read(node)
            try fixture.truncate(node, 64 * block)
        }
        try check { node in
            try fixture.truncate(node, 5000)
            _ = try fixture.read(node)
            try fixture.write(node, 7000, [1])
        }
    }

    @Test func theTailOfTheLastBlockIsZeroWhenTheFileGrows() throws {
        let node = try fixture.file("tail", Array(Content.blocks(seed: 1, count: 2)[..<5000]))
        let other = try fixture.file("other", Content.blocks(seed: 2, count: 16))
        // Where the answer lands, another file's bytes were before, as on a server's thread.
        var reply = ReadReply()
        for file in [other, node] {
            try fixture.datastore.read(file, offset: 0, count: 65_536, into: &reply)
            reply.reset()
        }
        try fixture.write(node, 20_000, [1])
        let bytes = try fixture.read(node)
        #expect(bytes.count == 20_001)
        #expect(bytes[5000..<20_000].allSatisfy { $0 == 0 })
        #expect(bytes[20_000] == 1)
    }

    @Test func fallocate() throws {
        let (keepSize, punch, collapse, zero, insert): (Int32, Int32, Int32, Int32, Int32) =
            (1, 2, 8, 16, 32)
        let size = UInt64(64 * block)
        let changes: [(mode: Int32, offset: UInt64, length: UInt64)] = [
            (0, 0, size + 9000), (keepSize, 0, size + 9000), (0, 100, 100),
            (punch | keepSize, 4096, 4096), (punch | keepSize, 5000, 9000),
            (punch | keepSize, size - 10, 5000), (zero, 4000, 10_000),
            (zero | keepSize, 0, 4096), (zero, size - 100, 8192),
            (collapse, 8192, 4096), (collapse, 0, 16_384), (insert, 4096, 8192),
        ]
        for (mode, offset, length) in changes {
            try check {
                try fixture.datastore.allocate($0, mode: mode, offset: offset, length: length)
            }
        }
    }

    @Test func copyRange() throws {
        let source = try fixture.file("source", Content.blocks(seed: 9, count: 64))
        let spans = [(0, 8192, 4096), (4096, 0, 65_536), (100, 7777, 12_345), (0, 260_000, 9000)]
        for (from, to, count) in spans {
            try check { target in
                let copied = try fixture.datastore.copyRange(
                    from: source, fromOffset: UInt64(from), to: target, toOffset: UInt64(to),
                    count: count)
                #expect(copied == count)
            }
        }
        // From one place of a file to another.
        try check { node in
            _ = try fixture.datastore.copyRange(
                from: node, fromOffset: 0, to: node, toOffset: 100_000, count: 50_000)
        }
        #expect(try fixture.read(source) == Content.blocks(seed: 9, count: 64))
    }

    @Test func numbersThatDoNotFitAreRefused() throws {
        let node = try fixture.file("file", [1])
        let most = UInt64(Int64.max)
        let datastore = fixture.datastore
        #expect(throws: Errno.fileTooBig) {
            try [1, 2].withUnsafeBytes { bytes in
                _ = try datastore.write(
                    node, bytes: bytes, offset: most - 1, flags: 0, killSetID: false)
            }
        }
        var change = AttributeChange()
        change.size = most + 1
        #expect(throws: Errno.fileTooBig) { _ = try datastore.setAttributes(node, change) }
        #expect(throws: Errno.fileTooBig) {
            try datastore.allocate(node, mode: 0, offset: most, length: 1)
        }
        #expect(throws: Errno.invalid) {
            try datastore.allocate(node, mode: 0, offset: 0, length: 0)
        }
        #expect(throws: Errno.fileTooBig) {
            _ = try datastore.copyRange(
                from: node, fromOffset: .max, to: node, toOffset: 0, count: 1)
        }
        #expect(throws: Errno(ENXIO)) {
            _ = try datastore.seek(node, offset: .max, whence: 3)
        }
        #expect(try fixture.read(node) == [1])
    }

    @Test func holesAreFound() throws {
        let node = try fixture.file("file", [UInt8](repeating: 1, count: 16 * block))
        try fixture.datastore.allocate(node, mode: 3, offset: 16_384, length: 16_384)
        #expect(try fixture.datastore.seek(node, offset: 0, whence: 4) == 16_384)
        #expect(try fixture.datastore.seek(node, offset: 16_384, whence: 3) == 32_768)
        #expect(throws: Errno.invalid) {
            _ = try fixture.datastore.seek(node, offset: 0, whence: SEEK_SET)
        }
    }
}
