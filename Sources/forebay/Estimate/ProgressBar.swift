import Glibc
import Policy
import Syscalls

/// A line on standard error that shows how far a command is; nothing when that is no terminal.
struct ProgressBar {
    private let total: UInt64
    private let isShown = isatty(2) == 1
    private let started = monotonicNanoseconds()
    private var shown: UInt64 = 0

    private static let width: UInt64 = 30
    /// Nanoseconds between two pictures.
    private static let interval: UInt64 = .milliseconds(200)

    /// `total`: bytes to do.
    init(total: UInt64) { self.total = max(total, 1) }

    /// So many bytes are done.
    mutating func show(_ done: UInt64) {
        let now = monotonicNanoseconds()
        guard isShown, now > shown + Self.interval else { return }
        shown = now
        let done = min(done, total)
        let filled = Int(Double(done) / Double(total) * Double(Self.width))
        let bar =
            String(repeating: "#", count: filled)
            + String(repeating: ".", count: Int(Self.width) - filled)
        let percent = Int(Double(done) / Double(total) * 100)
        let speed = Double(done) / (Double(now - started) / 1e9)
        put("\r[\(bar)] \(percent) %  \(ByteSize.readable(UInt64(speed)))/s \u{1b}[K")
    }

    /// Takes the line away.
    func finish() {
        if isShown && shown > 0 { put("\r\u{1b}[K") }
    }

    private func put(_ text: String) {
        let bytes = Array(text.utf8)
        _ = write(2, bytes, bytes.count)
    }
}
