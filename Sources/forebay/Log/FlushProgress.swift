import ControlPath
import Syscalls

/// Shows on a terminal how much dirty data is left while somebody waits for it.
final class FlushProgress: Sendable {
    private let isOver = Condition(false)
    private let hasEnded = Condition(true)

    /// Milliseconds after which waiting is worth a picture, and between two looks.
    private static let interval: UInt64 = 1000

    /// Begins to look. Without a thread for it there is no picture.
    init(_ mount: MountedDatastore) {
        hasEnded.update { $0 = false }
        let thread = try? Thread(name: "progress") { [self] in
            show(mount)
            hasEnded.update { $0 = true }
        }
        if let thread {
            thread.detach()
        } else {
            hasEnded.update { $0 = true }
        }
    }

    /// Takes the picture away.
    func finish() {
        isOver.update { $0 = true }
        _ = hasEnded.wait { $0 ? true : nil }
    }

    private func show(_ mount: MountedDatastore) {
        var bar: ProgressBar?
        var total: UInt64 = 0
        while !waitIsOver() {
            let dirty = (try? mount.ask("status", milliseconds: 1000))?["dirty_bytes"]?.unsigned
            guard let dirty, dirty > 0 else { continue }
            total = max(total, dirty)
            bar = bar ?? ProgressBar(total: total)
            bar?.show(total - dirty)
        }
        bar?.finish()
    }

    private func waitIsOver() -> Bool {
        let deadline = monotonicNanoseconds() + .milliseconds(Self.interval)
        return isOver.wait(until: deadline) { $0 ? true : nil } ?? false
    }
}
