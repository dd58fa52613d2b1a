import CFuse
import Passthrough
import Policy
import Syscalls

/// Drops what the kernel's page cache holds of files that changed below us. The kernel may have to
/// wait for a read of the same page, whose answer is ours: so a thread of its own does it, which
/// holds no lock that a reply needs.
final class KernelInvalidation: Sendable {
    private struct State {
        var waiting: [NodeID] = []
        /// The same nodes, to add each once.
        var known: Set<NodeID> = []
        var isStopping = false
    }

    private let state = Condition(State())

    /// Asks for it and returns at once. A node that is waiting already is not added again, so
    /// there are never more than there are inodes.
    func post(_ node: NodeID) {
        state.updateWakingOne { state in
            guard state.waiting.count < Limits.invalidations else { return }
            if state.known.insert(node).inserted { state.waiting.append(node) }
        }
    }

    /// The body of the thread: returns after `stop`.
    func run(_ send: (NodeID) -> Void) {
        while true {
            let nodes = state.wait { state -> [NodeID]? in
                if state.isStopping { return [] }
                guard !state.waiting.isEmpty else { return nil }
                let nodes = state.waiting
                state.waiting.removeAll(keepingCapacity: true)
                state.known.removeAll(keepingCapacity: true)
                return nodes
            }
            guard let nodes, !nodes.isEmpty else { return }
            for node in nodes { send(node) }
        }
    }

    func stop() { state.update { $0.isStopping = true } }
}
