import Synchronization

/// What an administrator can be told of, and can be told of by class.
package enum EventClass: String, CaseIterable, Sendable {
    /// The server crashed, hung or was replaced.
    case server
    /// The cache is left out of the way, or is used again.
    case bypass
    /// The datastore is slow, away, or back.
    case datastore
    /// A tier of the read cache failed or recovered.
    case cache
    /// The log device failed, fills up, or recovered; dirty data is too old.
    case log
    /// What the configuration asks for cannot be done.
    case configuration
    /// Somebody tries the channels.
    case test
}

/// Whether an event begins a problem, ends one, or is over already.
package enum EventState: String, CaseIterable, Sendable {
    case problem
    case recovered
    case notice
}

/// Something that an administrator wants to know without looking.
package struct Event: Equatable, Sendable {
    package let eventClass: EventClass
    package let state: EventState
    /// A sentence in plain words, without line feeds.
    package let text: String

    package init(_ eventClass: EventClass, _ state: EventState, _ text: String) {
        self.eventClass = eventClass
        self.state = state
        self.text = text
    }

    /// `CLASS STATE TEXT`, as it stands in the ring of events and on the way to the channels.
    package var line: String { "\(eventClass.rawValue) \(state.rawValue) \(text)" }

    /// Reads what `line` wrote; nil for anything else.
    package init?(line: String) {
        let parts = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let eventClass = EventClass(rawValue: String(parts[0])),
            let state = EventState(rawValue: String(parts[1]))
        else { return nil }
        self.init(eventClass, state, String(parts[2]))
    }
}

/// Where events go: the service's log always, and the sink of this process, which takes them to
/// the alert channels. Raising one never waits for a channel.
package enum Events {
    private static let sink = Mutex<(@Sendable (Event) -> Void)?>(nil)

    /// Receives every event from now on; it must not block.
    package static func install(_ body: @escaping @Sendable (Event) -> Void) {
        sink.withLock { $0 = body }
    }

    /// Logs an event and hands it to the sink.
    package static func raise(_ event: Event) {
        switch event.state {
        case .problem: SystemLog.error(event.text)
        case .recovered, .notice: SystemLog.notice(event.text)
        }
        let body = sink.withLock { $0 }
        body?(event)
    }

    /// Likewise, put together here.
    package static func raise(_ eventClass: EventClass, _ state: EventState, _ text: String) {
        raise(Event(eventClass, state, text))
    }
}
