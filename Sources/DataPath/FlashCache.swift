import Devices
import FlashTier
import Passthrough
import Policy
import Synchronization
import Syscalls

/// The flash tier of a mount through its life. A thread opens the device, reads its index and looks
/// after it; when the device is not there, it tries again now and then.
///
/// The device must know of every write before it reaches the datastore. So writes wait a moment for
/// the opening; if it takes longer, what the device knows of files is forgotten first, and they go
/// on without.
final class FlashCache: Sendable {
    typealias Tier = FlashTier<FileDevice>

    private enum Phase {
        /// Nobody can tell yet whether the device is there.
        case opening
        case open(Tier)
        /// There is no device; writes may go on once what it knows is forgotten.
        case without
        case closed
    }

    private struct State {
        var phase = Phase.opening
        /// How often what the device knows was forgotten.
        var forgettings = 0
        var isForgotten = false
        /// Writes under way that began without the device: what is read beside them is not stored.
        var untracked = 0
        /// Why the device is not used; empty when nothing is wrong.
        var problem = ""
    }

    /// A write that was told to the device, or began without one.
    enum Write {
        case tracked(Tier, FlashWrite)
        case untracked
    }

    private enum Admission {
        case tracked(Tier)
        case untracked
        /// What the device knows has to be forgotten first.
        case afterForgetting
    }

    let option: FlashOption
    private let owner: String
    private let writesPerDay: Double
    private let remembered: RememberedFlash
    private let state = Condition(State())
    private let forgetting = Mutex(())
    /// Blocks waiting to be stored.
    let offers = FlashOffers()

    /// `isUsed`: false leaves the device closed, as in a bypass; writes then make it forget.
    init(
        _ option: FlashOption, owner: String, writesPerDay: Double, remembered: RememberedFlash,
        isUsed: Bool
    ) {
        self.option = option
        self.owner = owner
        self.writesPerDay = writesPerDay
        self.remembered = remembered
        if !isUsed { state.withLock { $0.phase = .without } }
    }

    /// Starts the threads; throws when the machine has none left.
    func start() throws(Errno) {
        guard case .opening = state.withLock({ $0.phase }) else { return }
        try Thread(name: "flash") { [self] in run() }.detach()
        try Thread(name: "flash-store") { [self] in offers.run { tier } }.detach()
    }

    /// The tier, once the device is open.
    var tier: Tier? {
        state.withLock { state in
            if case .open(let tier) = state.phase { tier } else { nil }
        }
    }

    /// The tier, while it knows of all writes that are under way.
    var storingTier: Tier? {
        state.withLock { state in
            if state.untracked == 0, case .open(let tier) = state.phase { tier } else { nil }
        }
    }

    /// Why the device is not used, empty while it is or may be.
    var problem: String { state.withLock { $0.problem } }

    // MARK: - Writes

    /// A write of blocks begins: before it returns the tier does not find them any more, and will
    /// not after a power cut. `count` may reach beyond everything. Ended by `endWrite`.
    func beginWrite(_ node: NodeID, firstBlock: UInt64, count: UInt64) -> Write {
        let deadline = monotonicNanoseconds() + Limits.flashOpening
        while true {
            switch state.wait(until: deadline, Self.admit) {
            case nil: giveUpWaiting()
            case .afterForgetting: forget()
            case .untracked: return .untracked
            case .tracked(let tier):
                return .tracked(
                    tier, tier.beginWrite(node.rawValue, firstBlock: firstBlock, count: count))
            }
        }
    }

    /// How a write may go on; nil while nobody can tell.
    private static func admit(_ state: inout State) -> Admission? {
        switch state.phase {
        case .opening: return nil
        case .open(let tier): return .tracked(tier)
        case .without, .closed:
            guard state.isForgotten else { return .afterForgetting }
            state.untracked += 1
            return .untracked
        }
    }

    /// The write has ended, whatever came of it.
    func endWrite(_ write: Write) {
        switch write {
        case .tracked(let tier, let write): tier.endWrite(write)
        case .untracked: state.withLock { $0.untracked -= 1 }
        }
    }

    private func giveUpWaiting() {
        state.update { state in
            if case .opening = state.phase { state.phase = .without }
        }
    }

    private func forget() {
        forgetting.withLock { _ in
            guard state.withLock({ !$0.isForgotten }) else { return }
            remembered.forget()
            state.update { state in
                state.isForgotten = true
                state.forgettings += 1
            }
        }
    }

    // MARK: - The device

    private func run() {
        WaitMode.set(.datastore)
        let since = monotonicNanoseconds()
        while !isClosed {
            guard let tier = open(since: since) else { continue }
            tier.startCommits()
            // What it throws, it has told already; the upkeep takes the device back.
            try? tier.load()
            while !isClosed {
                tier.upkeep()
                sleep(milliseconds: Limits.flashUpkeep)
            }
        }
    }

    private var isClosed: Bool {
        state.withLock { if case .closed = $0.phase { true } else { false } }
    }

    /// Opens the device, or waits for the next try.
    private func open(since: UInt64) -> Tier? {
        let forgettings = state.withLock { $0.forgettings }
        do throws(Errno) {
            let device: FileDevice
            do throws(Errno) {
                device = try FileDevice(path: option.path)
            } catch {
                // The server before this one may still be on its way out.
                if error == .busy, monotonicNanoseconds() < since + Limits.flashOpening {
                    sleep(milliseconds: 5)
                    return nil
                }
                throw error
            }
            let last = remembered.value
            var settings = Tier.Settings(
                owner: owner, lastInstance: last?.instance, writesPerDay: writesPerDay
            ) { [remembered] instance in
                if let instance {
                    remembered.set(instance, sequence: 0)
                } else {
                    remembered.forget()
                }
            }
            settings.lastSequence = last?.sequence ?? 0
            let tier = try Tier(device, settings)
            return publish(tier, unlessAfter: forgettings) ? tier : nil
        } catch {
            fail(error)
            _ = state.wait(until: monotonicNanoseconds() + Limits.flashProbe) {
                if case .closed = $0.phase { true } else { nil }
            }
            return nil
        }
    }

    /// Lets the tier be used, unless what it believes was forgotten while it was opened.
    private func publish(_ tier: Tier, unlessAfter forgettings: Int) -> Bool {
        forgetting.withLock { _ in
            guard state.withLock({ $0.forgettings }) == forgettings else { return false }
            remembered.set(tier.instance, sequence: tier.sequence)
            let hadProblem = state.update { state -> Bool in
                if case .closed = state.phase { return false }
                state.phase = .open(tier)
                state.isForgotten = false
                defer { state.problem = "" }
                return !state.problem.isEmpty
            }
            if hadProblem { Events.raise(.cache, .recovered, "flash is used again") }
            return true
        }
    }

    private func fail(_ error: Errno) {
        let problem = "\(option.path): \(Self.explanation(error))"
        let isNew = state.update { state -> Bool in
            if case .opening = state.phase { state.phase = .without }
            defer { state.problem = problem }
            return state.problem != problem
        }
        if isNew { Events.raise(.cache, .problem, "flash is not used: \(problem)") }
    }

    private static func explanation(_ error: Errno) -> String {
        switch error {
        case .invalid: "it is not formatted; 'forebay format --flash' prepares it"
        case .busy: "another process or another mount uses it"
        case .noSpace: "it is smaller than it was"
        default: "\(error)"
        }
    }

    /// Ends it: the device is left as after a clean stop. With `isQuick`, for a successor that
    /// opens it in a moment, only what it knows is made durable. No write may be under way.
    func close(isQuick: Bool) {
        let tier = state.update { state -> Tier? in
            defer { state.phase = .closed }
            if case .open(let tier) = state.phase { return tier }
            return nil
        }
        offers.stop()
        guard let tier else { return }
        tier.close(forSuccessor: isQuick)
        // Unless it had to be forgotten, because the device failed.
        if remembered.value?.instance == tier.instance {
            remembered.set(tier.instance, sequence: tier.sequence)
        }
    }
}
