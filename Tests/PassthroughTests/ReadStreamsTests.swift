import Passthrough
import Policy
import Testing

@Suite struct ReadStreamsTests {
    private var streams = ReadStreams()

    /// A request, and what it orders.
    private mutating func read(
        _ block: UInt64, _ count: Int, limit: Int = 1024, at now: UInt64 = 1
    ) -> Range<UInt64> {
        streams.advance(from: block, count: count, limit: limit, at: now)
    }

    /// A reader that asks for `count` blocks at a time, `requests` times; what is ordered for it.
    private mutating func orders(
        from block: UInt64, _ count: Int, requests: Int, limit: Int = 1024
    ) -> [Range<UInt64>] {
        (0..<requests).compactMap { number in
            let order = read(block + UInt64(number * count), count, limit: limit)
            return order.isEmpty ? nil : order
        }
    }

    @Test mutating func aSequentialReaderGetsTwiceAsMuchEachTimeItComesToItsMark() {
        let orders = orders(from: 0, 2, requests: 1000)
        #expect(orders.prefix(4) == [2..<18, 18..<50, 50..<114, 114..<242])
        // Then large reads of the datastore, which begin where those of others do.
        #expect(orders.dropFirst(4).prefix(3) == [242..<256, 256..<768, 768..<1792])
        #expect(orders.dropFirst(7) == [1792..<2816, 2816..<3840])
    }

    @Test mutating func whatIsOrderedIsAheadOfTheReaderAndHasNoGaps() {
        var end: UInt64 = 16
        for number in 1..<200 as Range<UInt64> {
            let order = read(number * 16, 16)
            if number == 1 { #expect(order.isEmpty) }
            guard !order.isEmpty else { continue }
            #expect(order.lowerBound == end || number == 2)
            #expect(order.lowerBound >= number * 16 + 16)
            #expect(order.count <= 1024)
            end = order.upperBound
        }
        #expect(end > 200 * 16)
    }

    @Test mutating func whoAsksForMuchGetsAsMuchAhead() {
        let orders = orders(from: 0, 256, requests: 6)
        #expect(orders == [256..<272, 512..<768, 768..<1280, 1280..<2304, 2304..<3328])
    }

    @Test mutating func aReaderThatJumpsGetsNothing() {
        for block in [1000, 5000, 200, 90_000, 3000, 50_000, 777_777, 1500] as [UInt64] {
            #expect(read(block, 1).isEmpty)
        }
        // Nor does one that reads the same again and again.
        for _ in 0..<5 { #expect(read(20_000, 1).isEmpty) }
        #expect(streams.marks == 0)
    }

    @Test mutating func whoGoesOnAfterAJumpIsSequentialAgain() {
        #expect(read(7000, 4).isEmpty)
        #expect(read(7004, 4) == 7008..<7024)
        #expect(read(7008, 4) == 7024..<7056)
        #expect(read(7012, 4).isEmpty)
        #expect(read(7024, 4) == 7056..<7120)
    }

    @Test mutating func severalReadersOfOneFileAreToldApart() {
        var last = [0, 0, 0, 0]
        for round in 0..<60 as Range<UInt64> {
            for reader in 0..<4 {
                // Others read at random all the time.
                #expect(read(1_000_000 + (round * 4 + UInt64(reader)) * 1000, 1).isEmpty)
                let block = UInt64(reader + 1) * 100_000 + round
                let order = read(block, 1, limit: 64)
                guard !order.isEmpty else { continue }
                #expect(order.lowerBound > block && order.lowerBound < block + 100)
                #expect(order.count > last[reader] || order.count == 64)
                last[reader] = order.count
            }
        }
        #expect(last == [64, 64, 64, 64])
    }

    @Test mutating func theLimitHolds() {
        #expect(read(0, 1, limit: 3) == 1..<4)
        #expect(read(1, 1, limit: 3) == 4..<7)
        #expect(read(4, 1, limit: 0).isEmpty)
        // Afterwards it begins anew.
        #expect(read(7, 1) == 8..<24)
    }

    /// Requests of one reader overtake one another on their way.
    @Test mutating func aLittleOutOfOrderIsSequential() {
        #expect(read(5000, 8).isEmpty)
        #expect(read(5016, 8) == 5024..<5040)
        #expect(read(5008, 8).isEmpty)
        #expect(read(5024, 8) == 5040..<5072)
    }

    @Test mutating func aReaderThatStoppedIsForgotten() {
        #expect(read(0, 8) == 8..<24)
        #expect(streams.isAtMark(8, 9))
        #expect(read(8, 8, at: Limits.streamPatience + 1).isEmpty)
        #expect(read(16, 8, at: Limits.streamPatience + 2) == 24..<40)
    }

    @Test mutating func marksTellWhoMayHaveComeToOne() {
        #expect(read(1000, 4).isEmpty)
        #expect(streams.marks == 0)
        #expect(read(1004, 4) == 1008..<1024)
        #expect(ReadStreams.mayMeet(streams.marks, 1008, 1009))
        #expect(ReadStreams.mayMeet(streams.marks, 900, 1100))
        #expect(!ReadStreams.mayMeet(streams.marks, 2000, 2001))
        #expect(streams.isAtMark(1008, 1009))
        #expect(streams.isAtMark(1000, 1009))
        #expect(!streams.isAtMark(1000, 1008))
        #expect(!streams.isAtMark(1009, 1200))
    }

    @Test mutating func theEndOfTheNumbersDoesNotTrap() {
        for block in [.max, .max - 3, 1 << 52, (1 << 52) - 1, 0] as [UInt64] {
            _ = read(block, 257)
            _ = read(block, 257)
        }
        _ = ReadStreams.mayMeet(.max, .max - 1, .max)
    }
}
