import DataPath
import Testing

@testable import ControlPath

/// What a server takes beyond the RAM tier, by what the kernel says of its process.
@Suite struct ServerMemoryTests {
    private let text = """
        Name:\tforebay-server
        VmHWM:\t  999999 kB
        VmRSS:\t    1100 kB
        RssAnon:\t     500 kB
        RssFile:\t     200 kB
        RssShmem:\t     400 kB
        """

    private func report(shared: UInt64, own: UInt64) -> DatastoreReport {
        var report = DatastoreReport()
        report.sharedBytesRAM = shared
        report.ownBytesRAM = own
        return report
    }

    @Test func theTierIsLeftOutWhoeverTouchedIt() throws {
        // A successor has touched 400 KiB of the 8 MiB that it was left.
        let memory = try #require(
            ServerMemory(
                processStatus: text, report: report(shared: 8 << 20, own: 100 << 10),
                slotsBytes: 1 << 20))
        #expect(memory.resident == 1100 << 10)
        #expect(memory.tier == 8 << 20 + 100 << 10)
        #expect(memory.beyondTier == (500 + 200 - 100) << 10 + 1 << 20)
    }

    @Test func aTierThatGrewBetweenTwoLooksDoesNotWrapAround() {
        let memory = ServerMemory(
            processStatus: text, report: report(shared: 0, own: 1 << 30), slotsBytes: 7)
        #expect(memory?.beyondTier == 7)
    }

    @Test(arguments: [
        "", "RssAnon: 1 kB\nRssFile: 2 kB", "RssAnon: 1 kB\nRssFile: x kB\nRssShmem: 3 kB",
        "RssAnon: 1 MB\nRssFile: 2 kB\nRssShmem: 3 kB",
        "RssAnon: 18446744073709551615 kB\nRssFile: 2 kB\nRssShmem: 3 kB",
    ])
    func whatDoesNotTellIsNothing(_ text: String) {
        let memory = ServerMemory(
            processStatus: text, report: report(shared: 0, own: 0), slotsBytes: 0)
        #expect(memory == nil)
    }
}
