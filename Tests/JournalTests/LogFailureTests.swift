import Journal
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

/// Devices that fail, logs that are full, and many threads.
@Suite struct LogFailureTests {
    @Test(arguments: [false, true])
    func aFailureEndsTheLogAndWhatIsInItCanBeRead(_ failsFlush: Bool) throws {
        let contents = try LogContents()
        let (journal, _) = try contents.recovered()
        try LogContents.append(journal, 1, 0, 600, isDurable: false)
        contents.device.withState {
            $0.failsFlushes = failsFlush
            $0.failsWrites = !failsFlush
        }
        #expect(throws: Errno.io) { try LogContents.append(journal, 1, 1, 600) }
        #expect(journal.isPoisoned)
        contents.device.restart()
        #expect(throws: Errno.io) { try LogContents.append(journal, 1, 2, 600, isDurable: false) }
        #expect(throws: Errno.io) { try journal.flush() }
        var bytes = [UInt8](repeating: 0, count: 600)
        let position: LogPosition = 32 << 10 + 64 + 64 + 32
        try bytes.withUnsafeMutableBytes { try journal.read(position, skip: 0, into: $0) }
        #expect(bytes == LogContents.payload(1, 0, 600))
        let found = try contents.recovered().1
        #expect(found.wrong == [])
        #expect(found.order.first?.offset == 0)
    }

    @Test func aFullLogTakesMoreOnceItIsReleased() throws {
        let contents = try LogContents()
        let (journal, _) = try contents.recovered()
        var count: UInt64 = 0
        while journal.hasRoom(bytes: 3000) {
            try LogContents.append(journal, 1, count, 3000)
            count += 1
        }
        #expect(count > 50)
        #expect(throws: Errno.noSpace) {
            for _ in 0..<4 { try LogContents.append(journal, 1, count, 3000) }
        }
        #expect(journal.used == journal.capacity)
        let found = try contents.recovered().1
        #expect(found.wrong == [])
        #expect(UInt64(found.order.count) >= count)
        // What was kept for recoveries is used up by and by; they go on without it.
        for _ in 0..<4 {
            #expect(try contents.recovered().1.order.count == found.order.count)
        }
        let (again, _) = try contents.recovered()
        #expect(!again.hasRoom(bytes: 0))
        try again.release(upTo: again.head)
        #expect(again.used == 0)
        for turn in 0..<200 {
            try LogContents.append(again, 2, UInt64(turn), 3000)
            try again.release(upTo: again.head)
        }
        #expect(try contents.recovered().1.order.isEmpty)
    }

    @Test func whatARecordCannotHoldIsRefused() throws {
        let contents = try LogContents()
        let closed = try Journal(contents.device)
        #expect(throws: Errno.invalid) { try LogContents.append(closed, 1, 0, 10) }
        #expect(!closed.hasRoom(bytes: 10))
        let (journal, _) = try contents.recovered()
        #expect(throws: Errno.invalid) { _ = try journal.recover { _, _, _ in } }
        let largest = journal.largestPayload
        let position = try LogContents.append(journal, 1, 0, largest)
        #expect(throws: Errno.invalid) { try LogContents.append(journal, 1, 0, largest + 1) }
        var bytes = [UInt8](repeating: 0, count: 100)
        for skip in [0, 5000, largest - 100] {
            try bytes.withUnsafeMutableBytes { try journal.read(position, skip: skip, into: $0) }
            #expect(bytes[...] == LogContents.payload(1, 0, largest)[skip..<skip + 100])
        }
        // Neither the middle of a record nor a place that was never written is one.
        for wrong in [position + 8, position + 20_000, 1 << 60, position + 1, 0] {
            #expect(throws: Errno.self) {
                try bytes.withUnsafeMutableBytes { try journal.read(wrong, skip: 0, into: $0) }
            }
        }
    }

    @Test func aDeviceThatWritesThroughIsNeverFlushed() throws {
        let contents = try LogContents(hasVolatileCache: false)
        let (journal, _) = try contents.recovered()
        let before = contents.device.withState { $0.flushes }
        for number in 0..<20 { try LogContents.append(journal, 1, UInt64(number), 500) }
        try journal.flush()
        #expect(contents.device.withState { $0.flushes } == before)
        #expect(journal.durable > 32 << 10)
    }

    @Test func aLonelyDurableRecordIsOneWriteAndNoFlush() throws {
        let contents = try LogContents(segments: 12)
        let (journal, _) = try contents.recovered()
        let before = contents.device.withState { $0 }
        let count = 60
        for number in 0..<count { try LogContents.append(journal, 1, UInt64(number), 2500) }
        let after = contents.device.withState { $0 }
        #expect(after.flushes == before.flushes)
        let ended = journal.head / (32 << 10) - 1
        #expect(ended > 3)
        #expect(after.writes - before.writes == count + Int(ended))
        // One that need not be durable makes the next one need a flush, once.
        try LogContents.append(journal, 1, 100, 10, isDurable: false)
        for number: UInt64 in 200..<203 { try LogContents.append(journal, 1, number, 10) }
        #expect(contents.device.withState { $0.flushes } == before.flushes + 1)
    }

    /// Threads that append until the device crashes: what each was answered for is there.
    @Test(arguments: 0..<12)
    func threadsShareWrites(_ seed: UInt64) throws {
        let contents = try LogContents(seed: seed, segments: 40)
        let (journal, _) = try contents.recovered()
        let crash: SimulatedLogDevice.Crash = seed % 2 == 0 ? .kill : .powerCut
        let before = contents.device.withState { $0.writes }
        contents.device.crash(crash, after: 60 + Int(seed) * 3)
        contents.device.withState { $0.delay = 100 }
        let threads = 6
        // By thread: records answered for, and those of them that are durable.
        let answered = Mutex([[Int]](repeating: [0, 0], count: threads))
        let workers = try (0..<threads).map { thread in
            try Thread(name: "writer") {
                for number in 0..<200 {
                    let isDurable = (number + thread) % 7 == 0
                    let offset = UInt64(number)
                    guard
                        (try? LogContents.append(
                            journal, UInt64(thread), offset, 100 + number, isDurable: isDurable))
                            != nil
                    else { return }
                    answered.withLock {
                        $0[thread][0] = number + 1
                        if isDurable { $0[thread][1] = number + 1 }
                    }
                }
            }
        }
        for worker in workers { worker.join() }
        let writes = contents.device.withState { $0.writes } - before
        contents.device.restart()
        let found = try contents.recovered().1
        #expect(found.wrong == [] && found.unreadable == 0)
        #expect(found.report.damage.isEmpty)
        let promised = answered.withLock { $0.map { $0[crash == .kill ? 0 : 1] } }
        for thread in 0..<threads {
            let offsets = found.order.filter { $0.file == UInt64(thread) }.map(\.offset)
            #expect(offsets == Array(0..<UInt64(offsets.count)))
            #expect(offsets.count >= promised[thread])
        }
        let all = answered.withLock { $0.reduce(0) { $0 + $1[0] } }
        #expect(writes > 40 && writes < all)
    }
}
