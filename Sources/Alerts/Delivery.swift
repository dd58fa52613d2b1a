import Glibc
import Policy
import Syscalls

/// Takes events of one mount to its channels, as far as the rate limit lets them pass.
package struct Delivery {
    private let name: String
    private let mountpoint: String
    private let state: AlertState
    private let configuration: String?

    /// `state` is the path of the mount's alert state; `configuration` that of its channels, by
    /// default where they are configured. Throws when the state cannot be opened.
    package init(
        name: String, mountpoint: String, state: String, configuration: String? = nil
    ) throws(Errno) {
        self.name = name
        self.mountpoint = mountpoint
        self.state = try AlertState(state)
        self.configuration = configuration ?? AlertConfiguration.path(name: name)
    }

    /// The descriptor of the state, which must stay open.
    package var descriptor: Int32 { state.descriptor }

    /// Tells what is to be told of these events and of earlier ones. What cannot be delivered is
    /// logged. Answers whether something is held back, to be told later.
    package func run(_ events: [Event]) -> Bool {
        guard let configuration else { return false }
        let channels: AlertConfiguration
        do throws(Refusal) {
            channels = try AlertConfiguration(path: configuration)
        } catch {
            SystemLog.error("no alert is delivered: \(error.what): \(error.why)")
            log(events.map { ("no channel", $0, "the configuration is wrong") })
            return false
        }
        let (messages, isHolding) = select(events, interval: channels.interval)
        let (host, now) = (Alert.hostName, time(nil))
        let alerts = messages.map {
            Alert(
                mount: name, mountpoint: mountpoint, host: host, event: $0.event,
                suppressed: $0.suppressed, time: now)
        }
        let losses = Dispatch(channels.channels).deliver(alerts, state: state)
        log(losses.map { ($0.channel, $0.alert.event, $0.reason) })
        return isHolding
    }

    private func select(
        _ events: [Event], interval: UInt64
    ) -> (messages: [RateLimit.Message], isHolding: Bool) {
        let now = monotonicNanoseconds() / .seconds(1)
        do throws(Errno) {
            return try state.update { limits in
                var messages: [RateLimit.Message] = []
                for event in events {
                    let message = limits[event.eventClass, default: RateLimit()].take(
                        event, at: now, interval: interval)
                    if let message { messages.append(message) }
                }
                for eventClass in EventClass.allCases {
                    let message = limits[eventClass]?.due(at: now, interval: interval)
                    if let message { messages.append(message) }
                }
                return (messages, limits.values.contains { $0.isHolding })
            }
        } catch {
            SystemLog.error("alerts are not limited: \(error)")
            return (events.map { RateLimit.Message(event: $0, suppressed: 0) }, false)
        }
    }

    private func log(_ losses: [(channel: String, event: Event, reason: String)]) {
        for (channel, event, reason) in losses {
            SystemLog.error("alert not delivered by \(channel): \(reason); it was: \(event.line)")
        }
    }
}
