import FuseServer
import Glibc
import Synchronization
import Syscalls

/// Tells of the end of a server's main thread, which may come seconds before the process is gone:
/// its descriptor becomes readable. Works from the moment at which the server serves.
final class DeathWatch: Sendable {
    /// To be polled for POLLIN; -1 when the watch could not be set up.
    let descriptor: Int32
    private let writing: Int32
    private let isOver = Atomic(false)

    init(_ slots: RequestSlots) {
        var ends: [Int32] = [-1, -1]
        if pipe(&ends) == 0 { for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) } }
        (descriptor, writing) = (ends[0], ends[1])
        // The thread ends with the server at the latest.
        let thread = try? Thread(name: "death watch") { [self] in
            while !isOver.load(ordering: .relaxed) {
                if slots.awaitDeath() {
                    _ = write(writing, "x", 1)
                    return
                }
                sleep(milliseconds: 10)
            }
        }
        thread?.detach()
    }

    /// Nobody polls it any more.
    func end() { isOver.store(true, ordering: .relaxed) }

    deinit {
        close(descriptor)
        close(writing)
    }
}
