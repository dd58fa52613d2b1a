import CLinux
import Glibc

/// A plain named thread (pthread_create(3)).
package struct Thread: Sendable {
    private let handle: pthread_t

    private final class Body: Sendable {
        let name: String
        let run: @Sendable () -> Void
        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Starts a thread with all signals blocked, so that only the main thread handles them.
    /// `name` is cut to the kernel's 15 bytes. Throws when the machine has no more threads.
    package init(name: String, _ run: @escaping @Sendable () -> Void) throws(Errno) {
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let body = Unmanaged.passRetained(Body(name: String(name.prefix(15)), run: run))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                CLinux_name_thread(body.name)
                body.run()
                return nil
            }, body.toOpaque())
        guard code == 0 else {
            body.release()
            throw Errno(code)
        }
        handle = thread
    }

    /// Waits until the thread's body has returned.
    package func join() { pthread_join(handle, nil) }

    /// Lets the thread's memory go by itself when its body returns.
    package func detach() { pthread_detach(handle) }
}

/// Suspends the calling thread.
package func sleep(milliseconds: UInt64) {
    usleep(UInt32(clamping: milliseconds &* 1000))
}

/// Sleeps for so many nanoseconds, about.
package func sleep(nanoseconds: UInt64) { usleep(UInt32(clamping: nanoseconds / 1000)) }
