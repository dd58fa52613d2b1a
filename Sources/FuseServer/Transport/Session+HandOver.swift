import Glibc
import Policy
import Synchronization
import Syscalls

// The end of a server while the mount goes on: for another version of the program, or for a cache
// of another size.
extension Session {
    /// Lets this server end so that a successor goes on at once: `run` returns soon. Nothing
    /// happens when it is ending already.
    package func handOver() {
        isLeaving.store(true, ordering: .releasing)
        startLeaving()
    }

    /// No reader takes up another request. One that waits in read(2) is left there: what it may
    /// still read lies in a slot, is answered, or is found there by the successor. Requests under
    /// way have a moment to end; what is left is in the slots as well.
    func leave() -> SessionEnd {
        slots.handedOverAt = monotonicNanoseconds()
        let deadline = monotonicNanoseconds() + .milliseconds(Limits.handOver)
        _ = pool.drain(until: deadline)
        pool.close()
        return .handedOver(isIdle: pool.becomesIdle(until: deadline))
    }
}
