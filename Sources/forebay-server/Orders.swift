import ControlPath
import DataPath
import FuseServer
import Glibc
import Policy
import Synchronization
import Syscalls

/// The orders of the control socket that concern the server itself.
final class Orders: ServerOrders {
    private let invocation: Invocation
    private let options: LiveOptions
    private let slots: RequestSlots
    private let datastore: Datastore
    private let handOver: HandOver
    /// One order at a time.
    private let turn = Mutex(())

    init(
        _ invocation: Invocation, options: LiveOptions, slots: RequestSlots, datastore: Datastore,
        handOver: HandOver
    ) {
        self.invocation = invocation
        self.options = options
        self.slots = slots
        self.datastore = datastore
        self.handOver = handOver
    }

    /// An order after which a successor goes on: the client waits until there were more restarts
    /// than are told here.
    private func successor(
        _ status: ServerExit, _ members: [(name: String, text: String)] = []
    ) -> OrderResult {
        let restarts = slots.value(CounterWord.restarts)
        return OrderResult(
            members: members + [("restarts", "\(restarts)")],
            afterwards: { [handOver] in handOver.begin(status) })
    }

    func set(_ changes: [String]) throws(Refusal) -> OrderResult {
        try turn.withLock { (_) throws(Refusal) in
            let before = options.value
            let after = try RuntimeOptions.apply(changes, to: before)
            try leaveLog(after, before)
            do throws(Errno) {
                let earlier = slots.laterOptions
                try slots.setLaterOptions(RuntimeOptions.merge(changes, into: earlier))
            } catch {
                throw Refusal("set", "\(error)")
            }
            options.value = after
            datastore.setTimeouts(
                attributes: after.attributeTimeout, backend: after.backendTimeout)
            if after.write != before.write { datastore.setWritePolicy(after.write) }
            datastore.setDestaging(delay: after.destageDelay, dirtyMax: after.dirtyMax)
            SystemLog.notice("set \(changes.joined(separator: " "))")
            return Self.hasOtherTiers(after, before) ? successor(.handOver) : OrderResult()
        }
    }

    /// A tier has one size, one device and one budget all its life: a new server begins another.
    /// What is in memory stays unless its size changes.
    private static func hasOtherTiers(_ after: MountOptions, _ before: MountOptions) -> Bool {
        after.ram != before.ram || after.flash?.path != before.flash?.path
            || (after.flash != nil && after.flashWritesPerDay != before.flashWritesPerDay)
            || after.log?.path != before.log?.path
            || (after.log != nil && after.destageOrder != before.destageOrder)
    }

    /// Before a log goes, what is in it goes to the datastore. A log that failed is left behind
    /// likewise: what can be read of it is there or set aside.
    private func leaveLog(_ after: MountOptions, _ before: MountOptions) throws(Refusal) {
        guard let log = before.log, after.log?.path != log.path else { return }
        do throws(Errno) {
            try datastore.leaveLog(
                deadline: monotonicNanoseconds() + .milliseconds(Limits.leavingLog))
        } catch {
            throw Refusal(
                "log '\(log.path)'", "is not empty yet: \(error)",
                hint: "'forebay flush \(before.mountpoint)', and try again")
        }
    }

    func bypass(_ isOn: Bool) throws(Refusal) -> OrderResult {
        turn.withLock { _ in
            let before = slots.bypass
            let after = isOn ? BypassMode.byCommand : .off
            slots.bypass = after
            if isOn, before == .off {
                Events.raise(.bypass, .problem, "the cache is left out of the way by command")
            } else if !isOn, before != .off {
                Events.raise(.bypass, .recovered, "the cache is used again by command")
            }
            // A server that began without the memory of the cache cannot get it any more.
            guard isOn || !datastore.isTierless else { return successor(.handOver) }
            datastore.setBypass(after)
            return OrderResult()
        }
    }

    func upgrade() throws(Refusal) -> OrderResult {
        let program = try InstalledProgram.path()
        let version = try Probe.ask(
            program, options: options.value, slots: invocation.slotsDescriptor)
        Events.raise(
            .server, .notice, "version \(Version.text) hands over to version \(version)")
        return successor(
            .handOverToInstalled, [("version", Version.text), ("next", version)])
    }
}
