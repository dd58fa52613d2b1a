import Syscalls

/// Decides what of one class of events of one mount is told. The first event is told at once, then
/// at most one in each interval, with the number of those that were not. The end of a problem is
/// told at once when its beginning was, and otherwise not. What is held back is told when the
/// interval is over, so that the last word that an administrator has is never an old one for long.
package struct RateLimit: Equatable, Sendable {
    /// An event to be told, and how many others it stands for.
    package struct Message: Equatable, Sendable {
        package let event: Event
        package let suppressed: UInt64
    }

    /// When something was told last that counts for the interval; nil before the first.
    private(set) var lastTold: UInt64?
    /// A problem was told and its end was not.
    private(set) var isOpen = false
    /// Not told so far, the one that is held back included.
    private(set) var suppressed: UInt64 = 0
    /// What is told when the interval is over.
    private(set) var held: Event?

    package init() {}

    /// Something waits for the end of the interval.
    package var isHolding: Bool { held != nil }

    /// An event has come. Times and the interval are in seconds, from any common beginning.
    package mutating func take(_ event: Event, at now: UInt64, interval: UInt64) -> Message? {
        if event.state == .recovered {
            if isOpen {
                isOpen = false
                return tell(event)
            }
            // Nobody knows of the problem. That it was there is still worth a line later.
            if let problem = held, problem.state == .problem {
                held = Event(event.eventClass, .notice, "\(problem.text); over: \(event.text)")
            }
            return nil
        }
        guard isQuiet(at: now, interval: interval) else {
            suppressed += 1
            // A problem that goes on is not displaced by news.
            if event.state == .problem || held?.state != .problem { held = event }
            return nil
        }
        lastTold = now
        isOpen = isOpen || event.state == .problem
        return tell(event)
    }

    /// What was held back, once the interval is over.
    package mutating func due(at now: UInt64, interval: UInt64) -> Message? {
        guard let event = held, isQuiet(at: now, interval: interval) else { return nil }
        lastTold = now
        isOpen = isOpen || event.state == .problem
        suppressed -= 1
        return tell(event)
    }

    private func isQuiet(at now: UInt64, interval: UInt64) -> Bool {
        guard let lastTold else { return true }
        return now < lastTold || now - lastTold >= interval
    }

    private mutating func tell(_ event: Event) -> Message {
        defer {
            suppressed = 0
            held = nil
        }
        return Message(event: event, suppressed: suppressed)
    }
}

// MARK: - As text

extension RateLimit {
    /// `LASTTOLD ISOPEN SUPPRESSED [EVENT]`, on one line.
    package var line: String {
        let fields = [lastTold.map { String($0) } ?? "-", isOpen ? "open" : "closed"]
        let tail = held.map { [$0.line] } ?? []
        return (fields + [String(suppressed)] + tail).joined(separator: " ")
    }

    /// Reads what `line` wrote; nil for anything else.
    package init?(line: String) {
        let parts = line.split(separator: " ", maxSplits: 3).map { String($0) }
        guard parts.count >= 3, let count = UInt64(parts[2]) else { return nil }
        lastTold = UInt64(parts[0])
        isOpen = parts[1] == "open"
        suppressed = count
        if parts.count == 4 {
            guard count > 0, let event = Event(line: parts[3]) else { return nil }
            held = event
        }
    }
}
