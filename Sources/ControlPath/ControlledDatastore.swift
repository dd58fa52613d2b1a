import DataPath
import Passthrough
import Policy
import Syscalls

/// What the control path asks of the datastore. `Datastore` is the one in service; tests have
/// their own.
package protocol ControlledDatastore: Sendable {
    /// Numbers of one file, of everything below a directory, or (root) of the whole datastore.
    func statistics(of node: NodeID) throws(Errno) -> StatisticsReport
    /// Numbers that only the whole datastore has; from memory.
    func report() -> DatastoreReport
    /// True for the root of the mount.
    func isRoot(_ node: NodeID) -> Bool
    /// The read policy that applies to a node.
    func readPolicy(of node: NodeID) throws(Errno) -> ReadPolicy
    /// Sets the read policy of a node, nil to inherit it.
    func setReadPolicy(_ policy: ReadPolicy?, of node: NodeID) throws(Errno)
    /// The write policy that applies to a node.
    func writePolicy(of node: NodeID) throws(Errno) -> WritePolicy
    /// Sets the write policy of a node, nil to inherit it.
    func setWritePolicy(_ policy: WritePolicy?, of node: NodeID) throws(Errno)
    /// Forgets the cached contents of a node and of everything below it.
    func drop(_ node: NodeID) throws(Errno)
    /// Returns when what was dirty of a node and of everything below it is on the datastore.
    func flushAll(_ node: NodeID) throws(Errno)
    /// Begins to do so. What needs no journal is done when this returns.
    func startFlush(_ node: NodeID) throws(Errno)
    /// Likewise, by a monotonic time in nanoseconds; throws ETIMEDOUT when it passes first.
    func flushAll(_ node: NodeID, deadline: UInt64) throws(Errno)
    /// The journal, from memory; nil when there is none.
    func logReport() -> LogReport?
    /// Brings everything home, then holds changes of the datastore back until `release`. Throws
    /// EBUSY when somebody does already, ETIMEDOUT when the deadline passes first.
    func quiesce(deadline: UInt64) throws(Errno)
    /// Lets changes go on.
    func release()
    /// The node of a path below the mount, "" for its root.
    func resolve(path: String) throws(Errno) -> NodeID
}

extension Datastore: ControlledDatastore {}
