import CFuse
import DataPath
import Policy
import Syscalls

/// Drops what the kernel holds of files and names that changed below us. The kernel may have to
/// wait for a read of the same page or a lookup in the same folder, whose answer is ours: so a
/// thread of its own does it, which holds no lock that a reply needs.
final class KernelInvalidation: Sendable {
    private struct State {
        var waiting: [KernelCopy] = []
        /// The same, to add each once.
        var known: Set<KernelCopy> = []
        var isStopping = false
    }

    private let state = Condition(State())

    /// Asks for it and returns at once. What is waiting already is not added again.
    func post(_ copy: KernelCopy) {
        state.updateWakingOne { state in
            guard state.waiting.count < Limits.invalidations else { return }
            if state.known.insert(copy).inserted { state.waiting.append(copy) }
        }
    }

    /// The body of the thread: returns after `stop`.
    func run(_ send: (KernelCopy) -> Void) {
        while true {
            let copies = state.wait { state -> [KernelCopy]? in
                if state.isStopping { return [] }
                guard !state.waiting.isEmpty else { return nil }
                let copies = state.waiting
                state.waiting.removeAll(keepingCapacity: true)
                state.known.removeAll(keepingCapacity: true)
                return copies
            }
            guard let copies, !copies.isEmpty else { return }
            for copy in copies { send(copy) }
        }
    }

    func stop() { state.update { $0.isStopping = true } }
}
