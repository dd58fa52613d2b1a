import Journal
import TestSupport
import Testing

@Suite struct ExtentMapTests {
    /// Where each byte comes from; what the map is compared with.
    private enum Byte: Equatable {
        case none
        case zero
        case data(LogPosition, UInt32)
    }

    private func contents(of map: ExtentMap, _ size: Int) -> [Byte] {
        var bytes = [Byte](repeating: .none, count: size)
        var end: UInt64 = 0
        map.forEach { extent in
            #expect(extent.start >= end && extent.length > 0, "out of order")
            end = extent.end
            for offset in 0..<Int(extent.length) {
                bytes[Int(extent.start) + offset] =
                    extent.isZeros ? .zero : .data(extent.position, extent.skip + UInt32(offset))
            }
        }
        return bytes
    }

    @Test func itHoldsWhatAListOfBytesHolds() {
        var generator = SplitMix64.announced()
        for _ in 0..<12 {
            let size = Int.random(in: 50...6000, using: &generator)
            let longest = Int.random(in: 2...max(3, size / 3), using: &generator)
            var map = ExtentMap()
            var model = [Byte](repeating: .none, count: size)
            var most = 0
            for step in 0..<600 {
                let start = Int.random(in: 0..<size, using: &generator)
                let end = min(size, start + Int.random(in: 1...longest, using: &generator))
                switch Int.random(in: 0..<10, using: &generator) {
                case 0:
                    let isCut = step % 2 == 0
                    map.remove(from: UInt64(start), to: isCut ? .max : UInt64(end))
                    for offset in start..<(isCut ? size : end) { model[offset] = .none }
                case 1, 2:
                    map.insert(Extent(zerosFrom: UInt64(start), length: UInt64(end - start)))
                    for offset in start..<end { model[offset] = .zero }
                default:
                    let extent = Extent(
                        start: UInt64(start), length: UInt32(end - start),
                        position: LogPosition(step), skip: 7)
                    map.insert(extent)
                    for offset in start..<end {
                        model[offset] = .data(LogPosition(step), UInt32(7 + offset - start))
                    }
                }
                most = max(most, map.count)
                if step % 50 == 49 { check(map, model, &generator) }
            }
            #expect(most > 3)
        }
    }

    private func check(_ map: ExtentMap, _ model: [Byte], _ generator: inout SplitMix64) {
        #expect(contents(of: map, model.count) == model)
        var (count, data) = (0, UInt64(0))
        map.forEach {
            count += 1
            if !$0.isZeros { data += $0.length }
        }
        #expect(map.count == count)
        #expect(map.dataBytes == data)
        let last = model.lastIndex { if case .data = $0 { true } else { false } }
        #expect(map.endOfData == UInt64(last.map { $0 + 1 } ?? 0))
        for _ in 0..<20 {
            let offset = Int.random(in: 0..<model.count, using: &generator)
            let found = map.extent(at: map.cursor(endingAfter: UInt64(offset)))
            let next = model[offset...].firstIndex { $0 != .none }
            #expect((found.map { max($0.start, UInt64(offset)) }) == next.map(UInt64.init))
        }
    }

    @Test func aCursorPassesAllExtents() {
        var map = ExtentMap()
        for block in stride(from: UInt64(0), to: 1000, by: 2) {
            map.insert(Extent(start: block * 512, length: 512, position: block, skip: 0))
        }
        var cursor = map.cursor(endingAfter: 0)
        var blocks: [UInt64] = []
        while let extent = map.extent(at: cursor) {
            blocks.append(extent.position)
            cursor = map.next(cursor)
        }
        #expect(blocks == Array(stride(from: UInt64(0), to: 1000, by: 2)))
    }

    @Test func zerosThatTouchAreOneExtentHoweverLong() {
        var map = ExtentMap()
        for block in stride(from: UInt64(1000), to: 0, by: -1) {
            map.insert(Extent(zerosFrom: block << 30, length: 1 << 30))
        }
        for block in 1001..<UInt64(2000) {
            map.insert(Extent(zerosFrom: block << 30, length: 1 << 30))
        }
        #expect(map.count == 1)
        #expect(map.extent(at: map.cursor(endingAfter: 0))?.length == 1999 << 30)
        map.remove(from: 5 << 30, to: 6 << 30)
        #expect(map.count == 2)
        #expect(map.dataBytes == 0 && map.endOfData == 0)
    }

    @Test func anExtentTakesSomeFortyBytes() {
        var generator = SplitMix64.announced()
        let count = 50_000
        var sequential = ExtentMap()
        for block in 0..<UInt64(count) {
            sequential.insert(Extent(start: block * 4096, length: 4096, position: block, skip: 0))
        }
        #expect(sequential.count == count)
        #expect(sequential.memoryBytes < 27 * count)
        var random = ExtentMap()
        for index in 0..<UInt64(count) {
            let block = UInt64.random(in: 0..<1 << 30, using: &generator)
            random.insert(Extent(start: block * 4096, length: 4096, position: index, skip: 0))
        }
        #expect(random.count > count * 9 / 10)
        #expect(random.memoryBytes < 42 * random.count)
        // Overwriting and cutting off gives memory back.
        for _ in 0..<4000 {
            let start = UInt64.random(in: 0..<1 << 42, using: &generator)
            random.remove(from: start, to: start + 1 << 30)
        }
        #expect(random.count < count / 2)
        #expect(random.memoryBytes < 80 * random.count + 4096)
        random.remove(from: 0, to: .max)
        #expect(random.isEmpty && random.dataBytes == 0)
    }
}
