import FuseServer
import Glibc
import Policy
import Syscalls

/// Takes events from shared memory to processes that deliver them, so that whatever an alert
/// channel does is nothing of the keeper's. Does not look into events and waits for nothing.
final class EventPump {
    private let slots: RequestSlots
    private let name: String
    /// The program `forebay`; nil where it is not installed with this one.
    private let program: String?
    private var deliveries: [AlertDelivery] = []
    /// Taken from the ring, not handed on yet.
    private var batch: [String] = []
    /// No delivery starts earlier: the last one could not be started.
    private var notBefore: UInt64 = 0
    /// When to start a delivery without an event, because an earlier one holds some back.
    private var recallAt: UInt64?
    /// When the server ended whose successor does not serve yet.
    private var endedAt: UInt64?
    /// The mount serves, or has served.
    private var hasBegun = false
    /// Servers in a row that ended before they served.
    private var failedStarts = 0

    init(slots: RequestSlots, name: String) {
        self.slots = slots
        self.name = name
        program = AlertDelivery.findProgram()
    }

    /// To be called often: does what is due and returns at once.
    func turn() {
        noteBeginning()
        noteRecovery()
        let now = monotonicNanoseconds()
        for delivery in deliveries {
            guard let isLeftover = delivery.end(now: now) else { continue }
            if isLeftover { recallAt = now + .seconds(Limits.alertRecall) }
        }
        deliveries.removeAll { $0.hasEnded }
        guard deliveries.count < Limits.alertDeliveries, now >= notBefore else { return }
        while batch.count < Limits.alertBatch, let line = slots.takeEvent() { batch.append(line) }
        let isRecalled = recallAt.map { now >= $0 } ?? false
        guard !batch.isEmpty || isRecalled else { return }
        recallAt = nil
        // They stand in the log; without channels there is nowhere else to take them.
        guard let program, Self.isConfigured(name) else { return batch.removeAll() }
        do throws(Errno) {
            deliveries.append(try AlertDelivery(program, name: name, events: batch))
            batch.removeAll()
        } catch {
            SystemLog.error("alerts wait, '\(program)' cannot be started: \(error)")
            notBefore = now + .seconds(Limits.alertRestart)
        }
    }

    private static func isConfigured(_ name: String) -> Bool {
        AlertFile.paths(name: name).contains { access($0, F_OK) == 0 }
    }

    // MARK: - What the keeper itself has to tell

    /// A server ended that should have gone on.
    func serverEnded(_ end: ServerProcess.End, hadServed: Bool) {
        let how =
            switch end {
            case .signal(let number): "crashed (\(String(cString: strsignal(number))))"
            case .exit(let status): "ended with status \(status)"
            case .hang: "showed no sign of life"
            }
        failedStarts = hadServed ? 0 : failedStarts + 1
        endedAt = endedAt ?? monotonicNanoseconds()
        let text =
            hadServed
            ? "the server \(how); another one takes over"
            : "a new server \(how) before it served, \(failedStarts) in a row; the next one starts"
        Events.raise(.server, .problem, text)
    }

    /// Ends the problem that an earlier attempt to mount may have told; otherwise this is for the
    /// log only.
    private func noteBeginning() {
        guard !hasBegun, slots.hasServed, slots.lastBeat != 0 else { return }
        hasBegun = true
        Events.raise(.configuration, .recovered, "the datastore is mounted")
    }

    private func noteRecovery() {
        let beat = slots.lastBeat
        guard let endedAt, beat > endedAt else { return }
        self.endedAt = nil
        failedStarts = 0
        let pause = (beat - endedAt) / .milliseconds(1)
        Events.raise(.server, .recovered, "a new server serves after a pause of \(pause) ms")
    }
}
