import Journal
import Passthrough
import Policy
import Synchronization
import Syscalls

// Bringing dirty data home, and standing still for a snapshot.
extension Datastore {
    /// Brings everything written below a node to the datastore and makes it durable there, by
    /// `deadline` (monotonic, in nanoseconds). Throws ETIMEDOUT when it passes first.
    package func flushAll(_ node: NodeID, deadline: UInt64) throws(Errno) {
        if let writeBack {
            try writeBack.drain(
                try inode(node).isRegular ? node.rawValue : nil, until: deadline)
        }
        try syncAll(node)
        if monotonicNanoseconds() > deadline { throw .timedOut }
    }

    /// Begins to bring home what is below a node, and returns at once when there is a log; what
    /// comes of it shows in the numbers. Throws EBUSY when too many flushes are under way.
    package func startFlush(_ node: NodeID) throws(Errno) {
        _ = try inode(node)
        guard hasLog else { return try flushAll(node) }
        guard flushes.add(1, ordering: .relaxed).newValue <= Limits.controlOrders else {
            flushes.subtract(1, ordering: .relaxed)
            throw .busy
        }
        do throws(Errno) {
            try Thread(name: "flush") { [self] in
                WaitMode.set(.datastore)
                do throws(Errno) {
                    try flushAll(node)
                } catch {
                    SystemLog.warning("a flush did not end: \(error)")
                }
                flushes.subtract(1, ordering: .relaxed)
            }.detach()
        } catch {
            flushes.subtract(1, ordering: .relaxed)
            throw error
        }
    }

    /// Brings everything home and holds changes of the datastore back until `release`: afterwards
    /// the datastore is, and stays, exactly what was acknowledged at one moment. Throws EBUSY when
    /// somebody holds them back already, ETIMEDOUT when `deadline` passes first, and what the
    /// datastore says; changes then go on.
    package func quiesce(deadline: UInt64) throws(Errno) {
        try changes.take()
        do throws(Errno) {
            // Most of it while writers go on, the rest of it quickly.
            try flushAll(.root, deadline: deadline)
            changes.close()
            try flushAll(.root, deadline: deadline)
            // What goes into the log from now on stays there.
            if let writeBack, !writeBack.destager.pause(until: deadline) { throw .timedOut }
        } catch {
            release()
            throw error
        }
    }

    /// Lets changes go on after `quiesce`.
    package func release() {
        writeBack?.destager.resume()
        changes.open()
    }

    /// How long dirty data waits from now on (seconds), and from how much on writers are slowed
    /// (bytes; nil: 3/4 of the log).
    package func setDestaging(delay: Double, dirtyMax: UInt64?) {
        writeBack?.destager.setDelay(UInt64(delay * 1e9))
        writeBack?.destager.setDirtyMax(dirtyMax)
    }

    /// Acknowledges nothing from the log any more and brings home what is in it, for good: the
    /// log is about to be taken away. Throws ETIMEDOUT when `deadline` passes first and what the
    /// datastore says; the log is then used as before.
    package func leaveLog(deadline: UInt64) throws(Errno) {
        settings.isLogLeaving = true
        do throws(Errno) {
            // The second time for what was on its way into the log before.
            try flushAll(.root, deadline: deadline)
            try flushAll(.root, deadline: deadline)
        } catch {
            settings.isLogLeaving = false
            throw error
        }
    }
}
