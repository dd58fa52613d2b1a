import Passthrough
import Syscalls
import Testing

@Suite struct WritebackErrorsTests {
    @Test func anErrorIsReportedOnce() {
        let errors = WritebackErrors()
        #expect(errors.take() == nil)
        errors.record(.noSpace)
        #expect(errors.take() == .noSpace)
        #expect(errors.take() == nil)
        errors.record(.noSpace)
        errors.record(.io)
        #expect(errors.take() == .io)
        #expect(errors.take() == nil)
    }

    /// Closing a descriptor that is not open fails, as the close of a file on NFS may.
    @Test func aFailedCloseOfAWrittenFileIsKept() {
        let errors = WritebackErrors()
        do { _ = BackingFile(owning: -1, access: .read, errors: errors) }
        #expect(errors.take() == nil)
        do { _ = BackingFile(owning: -1, access: .write, errors: errors) }
        #expect(errors.take() != nil)
    }

    @Test func countersOfTheirOwnAndSharedOnesCount() {
        let own = Counters()
        own.add(.reads, 2)
        own.add(.reads, 3)
        own.add(.misses, .max)
        own.add(.misses, 2)
        #expect(own[.reads] == 5)
        // Wraps rather than traps.
        #expect(own[.misses] == 1)
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 64)
        defer { words.deallocate() }
        words.initialize(repeating: 40, count: 64)
        Counters(shared: words).add(.writes, 2)
        // What a server counted is there for its successor.
        #expect(Counters(shared: words)[.writes] == 42)
        #expect(Counter.allCases.count <= 64)
    }
}
