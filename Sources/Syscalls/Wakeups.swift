import Glibc

/// Counts how often threads are to wake up and lets them wait for that: a semaphore
/// (sem_overview(7)). Unlike a `Condition` it wakes a thread while no lock is held, which the woken
/// one would only wait for.
package final class Wakeups: @unchecked Sendable {
    private let memory = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    /// None so far.
    package init() { sem_init(memory, 0, 0) }

    deinit {
        sem_destroy(memory)
        memory.deallocate()
    }

    /// Wakes a thread, or spares the next one its wait (sem_post(3)).
    package func post() { sem_post(memory) }

    /// Takes one, waited for as long as it takes (sem_wait(3)).
    package func take() {
        while sem_wait(memory) != 0 {}
    }
}
