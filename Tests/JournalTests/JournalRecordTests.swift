import Journal
import Testing

@Suite struct JournalRecordTests {
    @Test func timesAreOrderedByNanosecondsWithinASecond() {
        #expect(Timestamp(seconds: 5, nanoseconds: 9) < Timestamp(seconds: 5, nanoseconds: 10))
        #expect(Timestamp(seconds: 5, nanoseconds: 9) < Timestamp(seconds: 6))
        #expect(!(Timestamp(seconds: 6) < Timestamp(seconds: 5, nanoseconds: 9)))
    }
}
