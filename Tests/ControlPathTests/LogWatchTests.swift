import ControlPath
import DataPath
import Policy
import Syscalls
import Testing

/// What administrators are told of the journal.
@Suite struct LogWatchTests {
    private let well: LogReport = {
        var report = LogReport()
        report.path = "/dev/x"
        report.state = "on"
        report.dirtyMax = 1 << 20
        return report
    }()

    private func states(_ events: [Event]) -> [EventState] { events.map(\.state) }

    @Test func aLogThatWorksIsNotWorthAWord() {
        var watch = LogWatch()
        var report = well
        report.dirtyBytes = 1 << 20
        report.dirtyFiles = 1
        report.oldestSeconds = Limits.dirtyAge
        for now in 0..<60 { #expect(watch.look(at: report, now: UInt64(now)).isEmpty) }
    }

    @Test func itIsToldOnceThatALogFillsUp() {
        var watch = LogWatch()
        var report = well
        report.dirtyBytes = 2 << 20
        report.dirtyFiles = 3
        for now in 100..<110 { #expect(watch.look(at: report, now: UInt64(now)).isEmpty) }
        let events = watch.look(at: report, now: 110)
        #expect(states(events) == [.problem])
        #expect(events.first?.text.contains("2.0 MiB of 3 files") == true)
        #expect(watch.look(at: report, now: 111).isEmpty)
        report.dirtyBytes = 0
        #expect(states(watch.look(at: report, now: 112)) == [.recovered])
        #expect(watch.look(at: report, now: 113).isEmpty)
        // A burst that ends in time is none.
        report.dirtyBytes = 2 << 20
        #expect(watch.look(at: report, now: 200).isEmpty)
        report.dirtyBytes = 0
        #expect(watch.look(at: report, now: 205).isEmpty)
        report.dirtyBytes = 2 << 20
        #expect(watch.look(at: report, now: 211).isEmpty)
    }

    @Test func itIsOverWhenEverythingIs() {
        var watch = LogWatch(dirtyAge: 10)
        var report = well
        report.dirtyBytes = 4096
        report.dirtyFiles = 1
        report.oldestSeconds = 11
        #expect(states(watch.look(at: report, now: 1)) == [.problem])
        report.isPoisoned = true
        let failed = watch.look(at: report, now: 2)
        #expect(states(failed) == [.problem])
        #expect(failed.first?.text.contains("still in it") == true)
        report.isPoisoned = false
        #expect(watch.look(at: report, now: 3).isEmpty)
        report.oldestSeconds = 0
        report.dirtyBytes = 0
        report.dirtyFiles = 0
        #expect(states(watch.look(at: report, now: 4)) == [.recovered])
        report.state = "off: it was taken away"
        let off = watch.look(at: report, now: 5)
        #expect(off.first?.text.contains("it was taken away") == true)
        #expect(off.first?.text.contains("all data is home") == true)
    }

    @Test(arguments: [
        ("dirty_age = 60", 60), ("interval = 5\n dirty_age=7 # s\n[mail]", 7),
        ("[mail]\ndirty_age = 60", 300), ("dirty_age = x", 300), ("dirty_age = 0", 300),
        ("", 300), ("dirty_age", 300), ("# dirty_age = 9", 300), ("dirty_age = 86401", 300),
    ])
    func theAgeIsConfigured(text: String, age: UInt64) {
        #expect(LogWatch.dirtyAge(in: text) == age)
    }

    @Test func eventsFitOnALine() {
        let mark = LogMark(
            uuid: [UInt8](repeating: 1, count: 16), path: "/dev/x", mayBeDirty: true, time: 0)
        let text = LogEvents.discarded(mark)
        #expect(text.contains("1970-01-01T00:00:00Z"))
        #expect(text.contains("/dev/x"))
        #expect(Event(line: Event(.log, .problem, text).line)?.text == text)
    }
}
