import CLinux

/// Whether the calling thread may wait for the datastore. Threads that read requests from the
/// kernel never may: a hung datastore must not stop those who read what is cached.
package enum WaitMode {
    /// True on a thread that may wait. Elsewhere an operation that needs the datastore throws
    /// `Errno.mustWait`.
    package static var mayWait: Bool { CLinux_thread_word() != 0 }

    /// Sets the mode of the calling thread.
    package static func set(mayWait: Bool) { CLinux_set_thread_word(mayWait ? 1 : 0) }
}
