import Glibc

/// A state under a lock that threads can wait on (pthread_cond_wait(3), monotonic clock).
/// For places where a thread sleeps until another one changes something; plain mutual exclusion
/// uses `Synchronization.Mutex`.
package final class Condition<State>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let state: UnsafeMutablePointer<State>

    package init(_ initial: sending State) {
        state = .allocate(capacity: 1)
        state.initialize(to: initial)
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        state.deinitialize(count: 1)
        state.deallocate()
        changed.deallocate()
        mutex.deallocate()
    }

    /// Runs `body` under the lock.
    package func withLock<Result>(_ body: (inout State) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&state.pointee)
    }

    /// Runs `body` under the lock and wakes every waiter.
    package func update<Result>(_ body: (inout State) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer {
            pthread_cond_broadcast(changed)
            pthread_mutex_unlock(mutex)
        }
        return body(&state.pointee)
    }

    /// Runs `body` under the lock and wakes one waiter.
    package func updateWakingOne<Result>(_ body: (inout State) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer {
            pthread_cond_signal(changed)
            pthread_mutex_unlock(mutex)
        }
        return body(&state.pointee)
    }

    /// Waits until `body`, run under the lock, answers something; nil when the monotonic time
    /// `deadline` (nanoseconds) passes first. Without a deadline it waits for as long as it takes.
    package func wait<Result>(
        until deadline: UInt64? = nil, _ body: (inout State) -> Result?
    ) -> Result? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state.pointee) { return result }
            guard let deadline else {
                pthread_cond_wait(changed, mutex)
                continue
            }
            if monotonicNanoseconds() >= deadline { return nil }
            var time = timespec(
                tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
            pthread_cond_timedwait(changed, mutex, &time)
        }
    }
}
