import Glibc

/// A state under a lock with several conditions to wait for, so that a thread wakes those whom its
/// change concerns and no others. Whoever calls anything but `lock` holds the lock.
package final class Monitor<State>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let conditions: UnsafeMutablePointer<pthread_cond_t>
    private let count: Int
    /// What the lock protects.
    package let state: UnsafeMutablePointer<State>

    package init(_ initial: sending State, conditions count: Int) {
        self.count = count
        state = .allocate(capacity: 1)
        state.initialize(to: initial)
        conditions = .allocate(capacity: count)
        pthread_mutex_init(mutex, nil)
        for index in 0..<count { pthread_cond_init(conditions + index, nil) }
    }

    deinit {
        for index in 0..<count { pthread_cond_destroy(conditions + index) }
        pthread_mutex_destroy(mutex)
        state.deinitialize(count: 1)
        state.deallocate()
        conditions.deallocate()
        mutex.deallocate()
    }

    package func lock() { pthread_mutex_lock(mutex) }

    package func unlock() { pthread_mutex_unlock(mutex) }

    /// Runs `body` under the lock, which is not held.
    package func withLock<Result>(_ body: (inout State) -> Result) -> Result {
        lock()
        defer { unlock() }
        return body(&state.pointee)
    }

    /// Gives the lock up until the condition is told to have changed, or for no reason at all.
    package func wait(_ condition: Int) { pthread_cond_wait(conditions + condition, mutex) }

    /// Wakes one thread that waits for the condition.
    package func wakeOne(_ condition: Int) { pthread_cond_signal(conditions + condition) }

    /// Wakes all threads that wait for the condition.
    package func wakeAll(_ condition: Int) { pthread_cond_broadcast(conditions + condition) }
}
