import Policy

/// How many writes the destager has under way at the datastore: more while they take about as long
/// as the best of their size did, fewer when they take longer, as TCP Vegas does it (Brakmo and
/// Peterson, 1995): additive increase, multiplicative decrease. So the datastore's queues stay
/// short for the guests' reads, and what a burst left behind goes out at an even rate. When the log
/// runs full, room is worth more than that: the window opens.
package struct DestagePace: Sendable {
    /// The window, as a fraction.
    package private(set) var width = 1.0
    /// The best time of each class of sizes, nanoseconds; 0 before there is one.
    private var best = [UInt64](repeating: 0, count: Self.classes)
    /// Answers until the window may shrink again: those that were under way when it did last know
    /// nothing of that.
    private var patience = 0

    private static let classes = 8

    package init() {}

    /// Writes that may be under way at once. `pressure`: how full the log is, 0 to 1.
    package func window(pressure: Double) -> Int {
        let most = Double(Limits.destageWindow)
        guard pressure > Limits.urgentShare else { return Int(width) }
        let urgency = min(1, (pressure - Limits.urgentShare) / (1 - Limits.urgentShare) * 2)
        return Int(max(width, 1 + (most - 1) * urgency))
    }

    /// A write of so many bytes has taken so long.
    package mutating func ended(bytes: UInt64, nanoseconds: UInt64) {
        let kind = Self.kind(of: bytes)
        let taken = max(1, nanoseconds)
        if best[kind] == 0 || taken < best[kind] {
            best[kind] = taken
        } else if width < 2 {
            // Alone, and slow nevertheless: the best may not be possible any more.
            best[kind] += (taken - best[kind]) / Limits.bestMemory
        }
        patience = max(0, patience - 1)
        if taken < best[kind] * 2 {
            width = min(Double(Limits.destageWindow), width + 1 / width)
        } else if taken > best[kind] * 4, patience == 0 {
            width = max(1, width * 0.7)
            patience = Int(width) + 1
        }
    }

    /// A write failed or was not answered.
    package mutating func failed() { width = 1 }

    /// Up to 64 KiB, 128 KiB and so on to 4 MiB, and more.
    private static func kind(of bytes: UInt64) -> Int {
        let units = (max(1, bytes) - 1) >> 16
        return min(classes - 1, 64 - units.leadingZeroBitCount)
    }
}
