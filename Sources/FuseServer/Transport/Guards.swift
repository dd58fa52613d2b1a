import CLinux
import Policy
import Syscalls

// A process that was killed may take seconds until it is gone: gigabytes are unmapped, files are
// closed on a datastore that is slow, and only then its parent is told. Its threads stop at once.
// So each thread that matters holds a lock in the slots' memory that the kernel passes on when the
// thread ends: the first tells the keeper of a server's death, the others tell its successor that
// nobody reads requests into the slots any more.
extension RequestSlots {
    /// Waits until the main thread of the server ends and answers true; false at once when there is
    /// no server that serves.
    package func awaitDeath() -> Bool { CLinux_guard_await_death(guardMemory(0)) == 1 }

    /// Holds the guard of the calling thread from now on, as the main thread of a server.
    func guardServer() { guardThread(0) }

    /// The same for the reader with this number.
    func guardReader(_ number: Int) { guardThread(1 + number) }

    private func guardThread(_ index: Int) {
        guard index < SlotFormat.guardCount else { return }
        let code = CLinux_guard_hold(guardMemory(index), UInt32(Limits.threadEnd))
        if code != 0 { SystemLog.error("guard \(index) of the slots: \(Errno(code))") }
    }

    /// Waits until no thread of an earlier server reads requests.
    func awaitEndOfReaders() {
        for index in 1..<SlotFormat.guardCount {
            let code = CLinux_guard_hold(guardMemory(index), UInt32(Limits.threadEnd))
            if code == 0 {
                CLinux_guard_release(guardMemory(index))
            } else {
                SystemLog.error("a thread of the last server does not end: \(Errno(code))")
            }
        }
    }

    private func guardMemory(_ index: Int) -> UnsafeMutableRawPointer {
        memory.base + SlotFormat.guardsOffset + index * Int(CLinux_GUARD_SIZE)
    }

    /// Makes the guards in the memory of a new mount.
    static func makeGuards(in memory: SharedMemory) throws(Errno) {
        for index in 0..<SlotFormat.guardCount {
            let place = memory.base + SlotFormat.guardsOffset + index * Int(CLinux_GUARD_SIZE)
            let code = CLinux_guard_make(place)
            if code != 0 { throw Errno(code) }
        }
    }
}
