import CLinux

/// What the calling thread may wait for. Threads that read requests from the kernel wait for
/// nothing, so that a hung datastore does not stop those who read what is cached; threads that
/// read flash do not wait for the datastore, for the same reason.
package enum WaitMode: Int32, Comparable, Sendable {
    /// For nothing but memory.
    case memory
    /// For the flash device too.
    case flash
    /// For whatever it takes.
    case datastore

    package static func < (one: WaitMode, other: WaitMode) -> Bool {
        one.rawValue < other.rawValue
    }

    /// The mode of the calling thread; `memory` until it is set.
    package static var current: WaitMode { WaitMode(rawValue: CLinux_thread_word()) ?? .memory }

    /// True on a thread that may wait for the datastore. Elsewhere an operation that needs it
    /// throws `Errno.mustWait`.
    package static var mayWait: Bool { CLinux_thread_word() == WaitMode.datastore.rawValue }

    /// True on a thread that may wait for flash. Elsewhere an operation that needs it, and no
    /// more, throws `Errno.mustReadFlash`.
    package static var mayReadFlash: Bool { CLinux_thread_word() >= WaitMode.flash.rawValue }

    /// Sets the mode of the calling thread.
    package static func set(_ mode: WaitMode) { CLinux_set_thread_word(mode.rawValue) }

    /// Sets the mode of the calling thread to `datastore` or `memory`.
    package static func set(mayWait: Bool) { set(mayWait ? .datastore : .memory) }
}

extension Errno {
    /// The mode of thread that an operation needs when it was refused a wait; nil for any other
    /// error.
    package var neededMode: WaitMode? {
        switch self {
        case .mustWait: .datastore
        case .mustReadFlash: .flash
        default: nil
        }
    }
}
