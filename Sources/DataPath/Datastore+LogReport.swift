import Journal
import Passthrough
import Policy
import Synchronization
import Syscalls

// The numbers of the log.
extension Datastore {
    /// The journal at this moment, from memory; nil when the mount has none.
    package func logReport() -> LogReport? {
        guard options.log != nil || !logOpening.loss.isEmpty else { return nil }
        var report = LogReport()
        report.path = options.log?.path ?? ""
        report.lastLoss = logOpening.loss
        guard let writeBack else {
            report.state = "off: " + (options.log == nil ? "there is none" : logOpening.problem)
            return report
        }
        let figures = writeBack.dirty.figures
        let destager = writeBack.destager
        report.isPoisoned = writeBack.journal.isPoisoned
        report.state = "on"
        if destager.isPaused { report.state = "quiesced" }
        if settings.isBypassing { report.state = "off: bypass" }
        if report.isPoisoned { report.state = "off: the device failed" }
        report.capacity = writeBack.journal.capacity
        report.used = writeBack.journal.used
        report.dirtyBytes = figures.bytes
        report.dirtyFiles = UInt64(figures.files)
        report.dirtyMax = destager.throttle.limit
        if let since = figures.since {
            report.oldestSeconds = (monotonicNanoseconds() &- since) / 1_000_000_000
        }
        report.destageRate = destager.throttle.rate
        report.destagedBytes = logTarget?.bytes.load(ordering: .relaxed) ?? 0
        report.setAsideFiles = logTarget?.aside.files ?? 0
        return report
    }

    /// Bytes of files that are in the log alone.
    func dirtyBytes(of inodes: [Inode]) -> UInt64 {
        guard let dirty = writeBack?.dirty, !dirty.isEmpty else { return 0 }
        return inodes.reduce(0) { $0 + dirty.dirtyBytes(of: $1.node.rawValue) }
    }
}
