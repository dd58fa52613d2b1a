import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import Journal

/// A few files, the changes that were made to them, and what of it is at the datastore.
private struct LayeredFiles {
    let dirty: DirtyData
    /// What clients must see.
    var seen: [UInt64: [UInt8]] = [:]
    /// What the datastore has.
    var below: [UInt64: [UInt8]] = [:]
    /// The payloads of the log, by position.
    var log: [LogPosition: [UInt8]] = [:]
    var position: LogPosition = 4096

    mutating func write(_ file: UInt64, _ bytes: [UInt8], at offset: Int) {
        _ = dirty.begin()
        defer { dirty.end() }
        if seen[file]!.count < offset + bytes.count {
            seen[file]! += Array(repeating: 0, count: offset + bytes.count - seen[file]!.count)
        }
        seen[file]!.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        log[position] = bytes
        dirty.insert(
            file: file, handle: [UInt8(file)], offset: UInt64(offset), length: UInt64(bytes.count),
            at: position, time: Timestamp(seconds: Int64(position)))
        position += UInt64(bytes.count) + 32
    }

    mutating func truncate(_ file: UInt64, to size: Int) {
        _ = dirty.begin()
        defer { dirty.end() }
        let before = seen[file]!.count
        if size < before {
            seen[file]!.removeLast(before - size)
        } else {
            seen[file]! += Array(repeating: 0, count: size - before)
        }
        dirty.truncate(
            file: file, handle: [UInt8(file)], to: UInt64(size), before: UInt64(before),
            at: position, time: Timestamp(seconds: Int64(position)))
        position += 32
    }

    mutating func zero(_ file: UInt64, _ range: Range<Int>) {
        _ = dirty.begin()
        defer { dirty.end() }
        for offset in range.clamped(to: 0..<seen[file]!.count) { seen[file]![offset] = 0 }
        dirty.zero(
            file: file, handle: [UInt8(file)], offset: UInt64(range.lowerBound),
            length: UInt64(range.count), at: position,
            time: Timestamp(seconds: Int64(position)))
        position += 32
    }

    /// Does at the datastore what a destager does.
    mutating func destage(_ epoch: Epoch) {
        for changes in dirty.changes(in: epoch) {
            guard var bytes = below[changes.file] else { continue }
            if let cut = changes.truncatedTo, cut < bytes.count {
                bytes.removeLast(bytes.count - Int(cut))
            }
            let size = max(
                Int(changes.finalSize ?? UInt64(bytes.count)),
                Int(changes.finalSize ?? changes.writtenTo))
            if size > bytes.count { bytes += Array(repeating: 0, count: size - bytes.count) }
            changes.extents.forEach { extent in
                let end = min(Int(extent.end), bytes.count)
                guard Int(extent.start) < end else { return }
                for offset in Int(extent.start)..<end {
                    bytes[offset] =
                        extent.isZeros
                        ? 0
                        : log[extent.position]![Int(extent.skip) + offset - Int(extent.start)]
                }
            }
            below[changes.file] = bytes
        }
        dirty.finish(epoch)
    }

    /// The bytes of a range as a reader puts them together; nil when the file is not dirty.
    func read(_ file: UInt64, _ range: Range<Int>) -> [UInt8]? {
        var pieces: [DirtyPiece] = []
        guard
            let pin = dirty.pieces(
                file: file, offset: UInt64(range.lowerBound), length: UInt64(range.count),
                into: &pieces)
        else { return nil }
        defer { pin.release() }
        var bytes: [UInt8] = []
        for piece in pieces {
            let offset = range.lowerBound + bytes.count
            switch piece {
            case .data(let position, let skip, let length):
                bytes += log[position]![skip..<skip + length]
            case .zeros(let length):
                bytes += Array(repeating: 0, count: Int(length))
            case .gap(let length):
                bytes += (offset..<offset + Int(length)).map {
                    $0 < below[file]!.count ? below[file]![$0] : 0
                }
            }
        }
        return bytes
    }
}

@Suite struct DirtyDataTests {
    @Test func readersSeeTheNewestOfAllEpochs() {
        var generator = SplitMix64.announced()
        var (destaged, deepest) = (0, 0)
        for _ in 0..<8 {
            var files = LayeredFiles(dirty: DirtyData(isStrict: false))
            for file in UInt64(1)...3 {
                let bytes = generator.bytes(Int.random(in: 0...3000, using: &generator))
                files.below[file] = bytes
                files.seen[file] = bytes
            }
            for _ in 0..<300 {
                change(&files, &generator)
                switch Int.random(in: 0..<20, using: &generator) {
                case 0, 1: files.dirty.closeEpoch()
                case 2:
                    if let epoch = files.dirty.oldestClosed() {
                        files.destage(epoch)
                        destaged += 1
                    }
                default: break
                }
                deepest = max(deepest, files.dirty.figures.epochs)
                check(files, &generator)
            }
            files.dirty.closeEpoch()
            while let epoch = files.dirty.oldestClosed() { files.destage(epoch) }
            #expect(files.below == files.seen)
            #expect(files.dirty.isEmpty)
            #expect(files.dirty.figures == DirtyFigures())
            #expect(files.dirty.releasable { files.position } == files.position)
        }
        #expect(destaged > 10 && deepest > 3)
    }

    private func change(_ files: inout LayeredFiles, _ generator: inout SplitMix64) {
        let file = UInt64.random(in: 1...3, using: &generator)
        let offset = Int.random(in: 0..<4000, using: &generator)
        switch Int.random(in: 0..<12, using: &generator) {
        case 0: files.truncate(file, to: offset)
        case 1, 2:
            files.zero(file, offset..<offset + Int.random(in: 1...1500, using: &generator))
        default:
            let count = Int.random(in: 1...900, using: &generator)
            files.write(file, generator.bytes(count), at: offset)
        }
    }

    private func check(_ files: LayeredFiles, _ generator: inout SplitMix64) {
        for file in files.seen.keys {
            let size = files.seen[file]!.count
            let start = Int.random(in: 0...size, using: &generator)
            let end = Int.random(in: start...size, using: &generator)
            if let bytes = files.read(file, start..<end) {
                #expect(bytes == Array(files.seen[file]![start..<end]))
                let state = files.dirty.visibleState(of: file) {
                    UInt64(files.below[file]!.count)
                }
                #expect(state?.size == UInt64(size))
            } else {
                #expect(!files.dirty.isDirty(file))
                #expect(files.below[file] == files.seen[file])
            }
        }
    }

    @Test func whatIsReadStaysInTheLogUntilTheReaderIsDone() {
        var files = LayeredFiles(dirty: DirtyData(isStrict: false))
        files.below[1] = []
        files.seen[1] = []
        files.write(1, [1, 2, 3], at: 0)
        let first = files.position
        files.dirty.closeEpoch()
        files.write(1, [4], at: 10)
        files.dirty.closeEpoch()
        var pieces: [DirtyPiece] = []
        let pin = files.dirty.pieces(file: 1, offset: 0, length: 3, into: &pieces)
        #expect(pieces.count == 1 && pin != nil)
        for _ in 0..<2 {
            if let epoch = files.dirty.oldestClosed() { files.destage(epoch) }
        }
        #expect(files.dirty.isEmpty)
        #expect(files.dirty.releasable { files.position } < first)
        pin?.release()
        pin?.release()
        #expect(files.dirty.releasable { files.position } == files.position)
    }

    @Test func aFileThatIsGoneHasNothingDirtyAnyMore() {
        var files = LayeredFiles(dirty: DirtyData(isStrict: false))
        for file in UInt64(1)...2 {
            files.below[file] = []
            files.seen[file] = []
            files.write(file, [1, 2, 3], at: 0)
        }
        files.dirty.closeEpoch()
        files.write(1, [9], at: 7)
        let epoch = files.dirty.oldestClosed()!
        let changes = files.dirty.changes(in: epoch)
        #expect(changes.count == 2)
        files.dirty.forget(file: 1)
        #expect(files.dirty.changes(in: epoch).count == 1)
        #expect(!files.dirty.isCurrent(changes[0]) && files.dirty.isCurrent(changes[1]))
        #expect(files.dirty.figures.bytes == 3)
        #expect(files.read(1, 0..<3) == nil)
        #expect(files.read(2, 0..<3) == [1, 2, 3])
    }

    @Test func anEpochIsClosedOnlyWhenNoChangeIsUnderWay() throws {
        let dirty = DirtyData(isStrict: false)
        let first = dirty.begin()
        let closed = Atomic<Bool>(false)
        try withThread({
            dirty.closeEpoch()
            closed.store(true, ordering: .sequentiallyConsistent)
        }) {
            // The closing has begun when nobody may begin.
            while !dirty.state.withLock({ $0.isExclusive }) { sleep(milliseconds: 1) }
            let isClosedEarly = closed.load(ordering: .sequentiallyConsistent)
            #expect(!isClosedEarly)
            dirty.insert(
                file: 1, handle: [], offset: 0, length: 5, at: 100, time: Timestamp())
            dirty.end()
        }
        let isClosed = closed.load(ordering: .sequentiallyConsistent)
        #expect(isClosed)
        let second = dirty.begin()
        dirty.end()
        #expect(second == first + 1)
        #expect(dirty.oldestClosed()?.id == first)
        #expect(dirty.oldestClosed()?.end == 101)
    }

    @Test func anEpochThatSpansTooMuchOfTheLogIsClosedByTheNextChange() {
        var files = LayeredFiles(dirty: DirtyData(isStrict: false))
        files.dirty.setEpochSpan(2000)
        files.below[1] = []
        files.seen[1] = []
        for round in 0..<10 {
            files.write(1, [UInt8](repeating: UInt8(round), count: 900), at: 0)
        }
        #expect(files.dirty.figures.epochs > 2)
        #expect(files.read(1, 0..<900) == [UInt8](repeating: 9, count: 900))
    }

    @Test func dataAndHolesAreFoundInOrder() {
        var files = LayeredFiles(dirty: DirtyData(isStrict: false))
        files.below[1] = [UInt8](repeating: 1, count: 1000)
        files.seen[1] = files.below[1]
        #expect(files.dirty.part(of: 1, at: 0) == nil)
        files.write(1, [1, 2, 3], at: 100)
        files.dirty.closeEpoch()
        files.zero(1, 102..<150)
        files.truncate(1, to: 500)
        var (found, offset) = ([String](), UInt64(0))
        while let part = files.dirty.part(of: 1, at: offset), offset < .max {
            found.append("\(part.part) \(offset)")
            offset = part.end
        }
        #expect(found == ["gap 0", "data 100", "zeros 102", "gap 150", "zeros 500"])
    }
}

/// Runs `body` beside another thread, and waits for that one.
func withThread(
    _ other: @escaping @Sendable () -> Void, _ body: () throws -> Void
) throws {
    let thread = try Thread(name: "other", other)
    defer { thread.join() }
    try body()
}
