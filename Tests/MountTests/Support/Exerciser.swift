import CLinux
import CPosix
import Glibc
import Syscalls
import TestSupport
import Testing

/// Random operations on one file by every way of access, compared with a copy in memory after
/// each. The whole sequence follows from the seed.
struct Exerciser {
    /// Which operations it uses, and in which part of the file.
    struct Kind {
        /// O_DIRECT and memory maps beside read(2) and write(2).
        var mixed = true
        /// Operations that change the size or the allocation.
        var resizing = true
        /// O_DIRECT at any alignment.
        var unaligned: Bool
        /// The bytes of the file that are this exerciser's alone.
        var range: Range<Int>
    }

    private let path: String
    private let kind: Kind
    private var random: SplitMix64
    /// What the file must hold, from the beginning of the range.
    private var model: [UInt8]
    private var file: TestFile
    private var direct: TestFile
    private var history: [String] = []
    private let buffer = AlignedBuffer(1 << 18)

    /// Begins with the file at `path` as it is.
    init(_ path: String, kind: Kind, seed: UInt64) throws {
        self.path = path
        self.kind = kind
        random = SplitMix64(seed: seed)
        file = try TestFile(path, O_RDWR | O_CREAT)
        direct = try TestFile(path, O_RDWR | CLinux_O_DIRECT)
        model = try file.read(kind.range.count, at: kind.range.lowerBound)
    }

    /// Does `count` operations. Throws a `TestFailure` that tells the last ones when the file does
    /// not hold what it must.
    mutating func run(_ count: Int) throws {
        for number in 0..<count {
            do {
                try step()
            } catch let error as Errno {
                throw failure("operation \(number): \(error)")
            }
        }
        try readBuffered(0, model.count)
        guard kind.mixed else { return }
        try readDirect(0, kind.resizing ? buffer.bytes.count : model.count)
    }

    private mutating func step() throws {
        let choices = (kind.mixed ? 9 : 4) + (kind.resizing ? 6 : 0)
        var choice = Int.random(in: 0..<choices, using: &random)
        if !kind.mixed, choice >= 4 { choice += 5 }
        let offset = Int.random(in: 0..<kind.range.count, using: &random)
        let longest = [1, 700, 5_000, 70_000][Int.random(in: 0..<4, using: &random)]
        let length = min(
            Int.random(in: 1...longest, using: &random), kind.range.count - offset)
        let aligned = offset / 4096 * 4096
        let blocks = min((length + 4095) / 4096 * 4096, kind.range.count - aligned)
        switch choice {
        case 0, 1: try readBuffered(offset, length)
        case 2: try writeBuffered(offset, length)
        case 3: try writeVectors(offset, length)
        case 4:
            if kind.unaligned {
                try readDirect(offset, length)
            } else {
                try readDirect(aligned, blocks)
            }
        case 5:
            if kind.unaligned {
                try writeDirect(offset, length)
            } else {
                try writeDirect(aligned, blocks)
            }
        case 6: try readMapped(offset, length)
        case 7: try writeMapped(offset, length)
        case 8: try forgetCaches()
        case 9: try truncateTo(offset)
        case 10: try truncateTo(min(kind.range.count, model.count + length))
        case 11: try zero(CPosix_FALLOC_PUNCH_HOLE | CPosix_FALLOC_KEEP_SIZE, offset, length)
        case 12: try zero(CPosix_FALLOC_ZERO_RANGE | CPosix_FALLOC_KEEP_SIZE, offset, length)
        case 13: try copyInside(offset, length)
        default: try allocate(offset, length)
        }
    }

    // MARK: - Reading

    private mutating func readBuffered(_ offset: Int, _ length: Int) throws {
        note("read", offset, length)
        try check(try file.read(length, at: kind.range.lowerBound + offset), offset, length)
    }

    private mutating func readDirect(_ offset: Int, _ length: Int) throws {
        let length = min(length, buffer.bytes.count)
        note("read direct", offset, length)
        let (raw, start, place) = (
            direct.raw, buffer.bytes.baseAddress, kind.range.lowerBound + offset
        )
        let count = try call { pread(raw, start, length, place) }
        try check(Array(buffer.bytes[..<count]), offset, length)
    }

    private mutating func readMapped(_ offset: Int, _ length: Int) throws {
        let length = min(length, model.count - offset)
        guard length > 0 else { return }
        note("read map", offset, length)
        let bytes = try withMap(offset, length) { Array($0) }
        try check(bytes, offset, length)
    }

    private func check(_ found: [UInt8], _ offset: Int, _ length: Int) throws {
        let end = min(model.count, offset + length)
        // Whoever owns only a part of the file must find all of it.
        let expected = offset < end ? Array(model[offset..<end]) : []
        guard let place = Content.firstDifference(found, expected) else { return }
        throw failure(
            "\(found.count) bytes, not \(expected.count), differ from \(offset + place)")
    }

    // MARK: - Writing

    private mutating func writeBuffered(_ offset: Int, _ length: Int) throws {
        note("write", offset, length)
        let bytes = record(offset, length)
        let (raw, place) = (file.raw, kind.range.lowerBound + offset)
        try whole(length, try call { pwrite(raw, bytes, length, place) })
    }

    private mutating func writeVectors(_ offset: Int, _ length: Int) throws {
        note("write vectors", offset, length)
        let bytes = record(offset, length)
        let (raw, place) = (file.raw, Int64(kind.range.lowerBound + offset))
        let rest = Array(bytes[(length / 3)...])
        let count = try call {
            CPosix_pwritev(raw, bytes, length / 3, rest, rest.count, place, 0)
        }
        try whole(length, count)
    }

    private mutating func writeDirect(_ offset: Int, _ length: Int) throws {
        note("write direct", offset, length)
        buffer.bytes.copyBytes(from: record(offset, length))
        let (raw, start, place) = (
            direct.raw, buffer.bytes.baseAddress, kind.range.lowerBound + offset
        )
        try whole(length, try call { pwrite(raw, start, length, place) })
    }

    private mutating func writeMapped(_ offset: Int, _ length: Int) throws {
        let length = min(length, model.count - offset)
        guard length > 0 else { return }
        note("write map", offset, length)
        let bytes = record(offset, length)
        try withMap(offset, length) { $0.copyBytes(from: bytes) }
    }

    private mutating func record(_ offset: Int, _ length: Int) -> [UInt8] {
        let bytes = pattern(length, seed: random.next())
        let missing = offset + length - model.count
        if missing > 0 { model += [UInt8](repeating: 0, count: missing) }
        model.replaceSubrange(offset..<offset + length, with: bytes)
        return bytes
    }

    private func withMap<Result>(
        _ offset: Int, _ length: Int, _ body: (UnsafeMutableRawBufferPointer) -> Result
    ) throws -> Result {
        let place = kind.range.lowerBound + offset
        let start = place / 4096 * 4096
        let size = place + length - start
        let address = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.raw, off_t(start))
        guard let address, address != MAP_FAILED else { throw Errno.last }
        defer { munmap(address, size) }
        return body(
            UnsafeMutableRawBufferPointer(start: address + (place - start), count: length))
    }

    // MARK: - The rest

    private mutating func forgetCaches() throws {
        note("sync and forget", 0, 0)
        let raw = file.raw
        try call { fsync(raw) }
        CLinux_drop_page_cache(raw, 0, 0)
        if Place.current?.isForebay == true, random.next() % 4 == 0 {
            let name = "user.forebay.drop"
            try call { CPosix_setxattr(path, name, "1", 1, 0) }
        }
    }

    private mutating func truncateTo(_ size: Int) throws {
        note("truncate", size, 0)
        let raw = file.raw
        try call { ftruncate(raw, off_t(size)) }
        let more = size - model.count
        if more > 0 { model += [UInt8](repeating: 0, count: more) } else { model.removeLast(-more) }
    }

    private mutating func zero(_ mode: Int32, _ offset: Int, _ length: Int) throws {
        note(mode & CPosix_FALLOC_PUNCH_HOLE != 0 ? "punch" : "zero", offset, length)
        guard try allocate(mode, offset, length) else { return }
        let end = min(model.count, offset + length)
        guard offset < end else { return }
        model.replaceSubrange(offset..<end, with: [UInt8](repeating: 0, count: end - offset))
    }

    private mutating func allocate(_ offset: Int, _ length: Int) throws {
        note("allocate", offset, length)
        guard try allocate(0, offset, length) else { return }
        let missing = offset + length - model.count
        if missing > 0 { model += [UInt8](repeating: 0, count: missing) }
    }

    /// fallocate(2); false where the file system has no such mode.
    private func allocate(_ mode: Int32, _ offset: Int, _ length: Int) throws -> Bool {
        guard CLinux_fallocate(file.raw, mode, Int64(offset), Int64(length)) < 0 else {
            return true
        }
        let error = Errno.last
        if error == .notSupported { return false }
        throw error
    }

    private mutating func copyInside(_ from: Int, _ length: Int) throws {
        let length = min(length, model.count - from)
        let to = Int.random(in: 0..<kind.range.count, using: &random)
        guard length > 0, abs(to - from) >= length, to + length <= kind.range.count else { return }
        note("copy to \(to)", from, length)
        var source = Int64(from)
        var target = Int64(to)
        let raw = file.raw
        var left = length
        while left > 0 {
            let count = try call { CLinux_copy_range(raw, &source, raw, &target, left) }
            guard count > 0 else { throw failure("copied \(length - left) of \(length) bytes") }
            left -= count
        }
        let bytes = Array(model[from..<from + length])
        let missing = to + length - model.count
        if missing > 0 { model += [UInt8](repeating: 0, count: missing) }
        model.replaceSubrange(to..<to + length, with: bytes)
    }

    private func whole(_ expected: Int, _ found: Int) throws {
        if expected != found { throw failure("\(found) of \(expected) bytes written") }
    }

    private mutating func note(_ operation: String, _ offset: Int, _ length: Int) {
        if history.count == 30 { history.removeFirst() }
        history.append("\(operation) \(offset)+\(length) of \(model.count)")
    }

    private func failure(_ text: String) -> TestFailure {
        TestFailure("\(path): \(text); last operations:\n" + history.joined(separator: "\n"))
    }
}
