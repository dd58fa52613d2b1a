import Glibc
import Journal
import Syscalls
import TestSupport
import Testing

/// Whatever is wrong with what is on the device, nothing traps and no wrong byte comes out.
@Suite struct LogDamageTests {
    /// A log of several segments, everything in it durable, and how many records it has.
    private func filled(_ seed: UInt64) throws -> (SimulatedLogDevice, Int) {
        let contents = try LogContents(seed: seed)
        let (journal, _) = try contents.recovered()
        var generator = SplitMix64(seed: seed)
        let count = 90
        for number in 0..<count {
            try LogContents.append(
                journal, UInt64(number % 5), UInt64(number),
                Int.random(in: 0..<2500, using: &generator))
        }
        return (contents.device, count)
    }

    @Test func damageIsCutOffOrReported() throws {
        let (original, count) = try filled(3)
        let image = original.withState { $0.current }
        var generator = SplitMix64.announced()
        var (reported, cut, refused, unreadable) = (0, 0, 0, 0)
        for _ in 0..<(LogSimulationTests.isLong ? 100_000 : 300) {
            let device = SimulatedLogDevice(size: image.count, sector: 512, seed: 1)
            device.withState { $0.current = image }
            let what = damage(device, &generator)
            let found: LogContents.Found
            do {
                found = try LogContents(device).recovered(needsHandles: false).1
            } catch {
                #expect(error is JournalProblem)
                refused += 1
                continue
            }
            #expect(found.wrong == [])
            let offsets = found.order.map(\.offset)
            let isPrefix = offsets == Array(0..<UInt64(offsets.count))
            #expect(isPrefix || !found.report.damage.isEmpty, "\(what)")
            #expect(zip(offsets, offsets.dropFirst()).allSatisfy { $0 < $1 })
            if !found.report.damage.isEmpty { reported += 1 }
            if isPrefix && offsets.count < count { cut += 1 }
            unreadable += found.unreadable
        }
        print("reported \(reported), cut \(cut), refused \(refused), unreadable \(unreadable)")
        #expect(reported > 0)
        #expect(unreadable > 0)
    }

    /// A bit, some bytes, a sector of others, or everything from somewhere on.
    private func damage(
        _ device: SimulatedLogDevice, _ generator: inout SplitMix64
    ) -> String {
        device.withState { state in
            let size = state.current.count
            // Most of the device is in use, but for its front.
            let start = Bool.random(using: &generator) ? 128 << 10 : 0
            let place = Int.random(in: start..<size, using: &generator)
            let sector = place / 512 * 512
            let kind = Int.random(in: 0..<5, using: &generator)
            switch kind {
            case 0, 1:
                state.current[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 2:
                let end = min(place + 16, size)
                state.current.replaceSubrange(place..<end, with: generator.bytes(end - place))
            case 3:
                let other = Int.random(in: 0..<size / 512, using: &generator) * 512
                state.current.replaceSubrange(
                    sector..<sector + 512, with: Array(state.current[other..<other + 512]))
            default:
                for index in sector..<min(sector + 40_000, size) { state.current[index] = 0 }
            }
            return "damage \(kind) at \(place)"
        }
    }

    /// Every bit of everything that is decoded, in a log with one small record in each segment.
    @Test func everyBitOfHeadersAndSummariesIsVerified() throws {
        let contents = try LogContents(seed: 4)
        let (journal, _) = try contents.recovered()
        let position = try LogContents.append(journal, 1, 0, 24)
        let image = contents.device.withState { $0.current }
        let frame = 128 << 10 + Int(position % (8 * 32 << 10)) - 64 - 64 - 32
        // Between the handle and the record are four bytes that count for nothing.
        let parts = [
            (frame, 64 + 64 + 28), (frame + 64 + 64 + 32, 64 + 24), (0, 100), (32 << 10, 64),
            (96 << 10, 64),
        ]
        for (start, count) in parts {
            for bit in stride(from: 0, to: count * 8, by: 7) {
                let device = SimulatedLogDevice(size: image.count, sector: 512, seed: 1)
                device.withState {
                    $0.current = image
                    $0.current[start + bit / 8] ^= 1 << UInt8(bit % 8)
                }
                let found = try LogContents(device).recovered().1
                #expect(found.wrong == [] && found.unreadable == 0)
                #expect(found.order.count == (start >= frame ? 0 : 1), "bit \(bit) at \(start)")
            }
        }
    }

    /// What had been durable and is damaged is reported, and the rest is there.
    @Test func aDamagedWriteDoesNotTakeTheLaterOnesAway() throws {
        let (device, count) = try filled(5)
        let segment = 128 << 10 + 2 * 32 << 10
        // Its first frame, and its footer, so that the frames must be looked for.
        device.withState { state in
            state.current[segment + 20] ^= 1
            state.current[segment + 32 << 10 - 40] ^= 1
        }
        let before = device.withState { $0.current }
        let check = try LogCheck(device)
        #expect(check.isDamaged)
        #expect(device.withState { $0.current } == before)
        let found = try LogContents(device).recovered(needsHandles: false).1
        #expect(found.report.damage.count == 1)
        #expect(found.wrong == [])
        #expect(found.order.count >= count - 3 && found.order.count < count)
        #expect(found.order.last?.offset == UInt64(count - 1))
    }

    /// Bytes that are not the handle that was written could be the handle of another file.
    @Test func aDamagedHandleIsNone() throws {
        let contents = try LogContents(seed: 8)
        let (journal, _) = try contents.recovered()
        let first = try LogContents.append(journal, 1, 0, 24)
        try LogContents.append(journal, 2, 1, 24)
        let handle = 128 << 10 + Int(first % (8 * 32 << 10)) - 32
        contents.device.withState { $0.current[handle + 3] ^= 1 }
        let found = try contents.recovered(needsHandles: false).1
        #expect(found.wrong == [] && !found.report.damage.isEmpty)
        #expect(found.order.map(\.offset) == [0, 1])
    }

    @Test func aDeviceThatDoesNotReadIsAnErrorAndNoEmptyLog() throws {
        let (device, _) = try filled(6)
        device.withState { $0.failsReads = true }
        #expect(throws: JournalProblem.device(.io)) { _ = try Journal(device) }
    }

    /// Where the log may go on it must be read; what had been durable is known to be missing.
    @Test func aPlaceThatCannotBeReadDoesNotEndTheLog() throws {
        let (device, count) = try filled(7)
        let end = Int(try LogCheck(device).range.upperBound)
        let second = 128 << 10 + 2 * 32 << 10
        device.withState { $0.bad = second + 32 << 10 - 512..<second + 32 << 10 }
        let check = try LogCheck(device)
        #expect(check.isDamaged && check.records == UInt64(count))
        let writes = device.withState { $0.writes }
        device.withState { $0.bad = 128 << 10 + end..<128 << 10 + end + 512 }
        #expect(throws: Errno.io) { _ = try LogContents(device).recovered() }
        #expect(device.withState { $0.writes } == writes)
        device.withState { $0.bad = second + 32 << 10 - 512..<second + 32 << 10 }
        let found = try LogContents(device).recovered().1
        #expect(found.wrong == [] && found.order.count == count)
    }
}
