import Passthrough
import Testing

@Suite struct ReadStreamsTests {
    @Test func aSequentialReaderGetsTwiceAsMuchEachTime() {
        var streams = ReadStreams()
        var windows: [Int] = []
        var block: UInt64 = 0
        for _ in 0..<7 {
            let window = streams.advance(from: block, count: 2, limit: 256)
            windows.append(window)
            block += UInt64(2 + window)
        }
        #expect(windows == [16, 32, 64, 128, 256, 256, 256])
    }

    @Test func aReaderThatJumpsGetsNothing() {
        var streams = ReadStreams()
        for block in [1000, 5000, 200, 90_000, 3000, 50_000, 777_777, 1500] as [UInt64] {
            #expect(streams.advance(from: block, count: 1, limit: 256) == 0)
        }
    }

    @Test func whoGoesOnAfterAJumpIsSequentialAgain() {
        var streams = ReadStreams()
        #expect(streams.advance(from: 7000, count: 4, limit: 256) == 0)
        #expect(streams.advance(from: 7004, count: 4, limit: 256) == 16)
        #expect(streams.advance(from: 7024, count: 4, limit: 256) == 32)
    }

    @Test func fourReadersOfOneFileAreToldApart() {
        var streams = ReadStreams()
        var places: [UInt64] = [10_000, 20_000, 30_000, 40_000]
        var last = [0, 0, 0, 0]
        for round in 0..<4 {
            for reader in 0..<4 {
                let window = streams.advance(from: places[reader], count: 1, limit: 64)
                #expect(round == 0 ? window == 0 : window > 0)
                #expect(round < 2 || window > last[reader] || window == 64)
                last[reader] = window
                places[reader] += UInt64(1 + window)
            }
        }
    }

    @Test func theLimitHolds() {
        var streams = ReadStreams()
        #expect(streams.advance(from: 0, count: 1, limit: 3) == 3)
        #expect(streams.advance(from: 4, count: 1, limit: 3) == 3)
        #expect(streams.advance(from: 8, count: 1, limit: 0) == 0)
    }

    /// Requests of one reader overtake one another on their way.
    @Test func aLittleOutOfOrderIsSequential() {
        var streams = ReadStreams()
        #expect(streams.advance(from: 5000, count: 8, limit: 256) == 0)
        #expect(streams.advance(from: 5016, count: 8, limit: 256) == 16)
        #expect(streams.advance(from: 5008, count: 8, limit: 256) == 32)
    }

    @Test func theEndOfTheNumbersDoesNotTrap() {
        var streams = ReadStreams()
        _ = streams.advance(from: .max, count: 257, limit: 256)
        _ = streams.advance(from: .max - 3, count: 257, limit: 256)
        _ = streams.advance(from: 0, count: 257, limit: 256)
    }
}
