import ControlPath
import DataPath
import Passthrough
import Policy
import Synchronization
import Syscalls

/// A datastore of numbers and policies without files: node 1 is the root, 2 a file, all others
/// are stale.
final class FakeDatastore: ControlledDatastore {
    struct State: Sendable {
        var statistics = StatisticsReport()
        var report = DatastoreReport()
        var readPolicy: ReadPolicy?
        var writePolicy: WritePolicy?
        var flushed: [UInt64] = []
        var dropped: [UInt64] = []
        var failure: Errno?
        /// Milliseconds that a flush takes.
        var flushTime: UInt64 = 0
        var isQuiesced = false
        var releases = 0
    }

    let state = Mutex(State())

    private func check(_ node: NodeID) throws(Errno) {
        guard node.rawValue <= 2 else { throw .stale }
        if let failure = state.withLock({ $0.failure }) { throw failure }
    }

    func statistics(of node: NodeID) throws(Errno) -> StatisticsReport {
        try check(node)
        return state.withLock { $0.statistics }
    }

    func report() -> DatastoreReport { state.withLock { $0.report } }

    func isRoot(_ node: NodeID) -> Bool { node == .root }

    func readPolicy(of node: NodeID) throws(Errno) -> ReadPolicy {
        try check(node)
        return state.withLock { $0.readPolicy } ?? .normal
    }

    func setReadPolicy(_ policy: ReadPolicy?, of node: NodeID) throws(Errno) {
        try check(node)
        state.withLock { $0.readPolicy = policy }
    }

    func writePolicy(of node: NodeID) throws(Errno) -> WritePolicy {
        try check(node)
        return state.withLock { $0.writePolicy } ?? .through
    }

    func setWritePolicy(_ policy: WritePolicy?, of node: NodeID) throws(Errno) {
        try check(node)
        guard policy != .back || state.withLock({ $0.report.log != nil }) else { throw .invalid }
        state.withLock { $0.writePolicy = policy }
    }

    func drop(_ node: NodeID) throws(Errno) {
        try check(node)
        state.withLock { $0.dropped.append(node.rawValue) }
    }

    func flushAll(_ node: NodeID) throws(Errno) {
        try check(node)
        sleep(milliseconds: state.withLock { $0.flushTime })
        state.withLock { $0.flushed.append(node.rawValue) }
    }

    func startFlush(_ node: NodeID) throws(Errno) { try flushAll(node) }

    func flushAll(_ node: NodeID, deadline: UInt64) throws(Errno) {
        try check(node)
        let end = monotonicNanoseconds() + state.withLock { $0.flushTime } * .milliseconds(1)
        while monotonicNanoseconds() < end {
            if monotonicNanoseconds() >= deadline { throw .timedOut }
            sleep(milliseconds: 5)
        }
        state.withLock { $0.flushed.append(node.rawValue) }
    }

    func logReport() -> LogReport? { state.withLock { $0.report.log } }

    func quiesce(deadline: UInt64) throws(Errno) {
        if state.withLock({ $0.isQuiesced }) { throw .busy }
        try flushAll(.root, deadline: deadline)
        state.withLock { $0.isQuiesced = true }
    }

    func release() {
        state.withLock { state in
            state.isQuiesced = false
            state.releases += 1
        }
    }

    func resolve(path: String) throws(Errno) -> NodeID {
        switch path {
        case "", "/": return .root
        case "/file": return NodeID(2)
        default: throw .noEntry
        }
    }
}

/// Facts of a server that has no shared counters.
func testFacts() -> ServerFacts {
    ServerFacts(
        options: LiveOptions(
            MountOptions(
                backing: "/mnt/nas", mountpoint: "/srv/vms", name: "nas", state: "/tmp/s",
                ram: 16 << 20)),
        counters: nil, fuseRequests: { [("READ", 7), ("LOOKUP", 1)] })
}
