import CLinux
import Glibc
import Synchronization
import Syscalls

/// Errors that the datastore reported too late for the write that caused them; the next fsync of
/// the file must fail with them.
package final class WritebackErrors: Sendable {
    private let code = Atomic<Int32>(0)

    package init() {}

    /// Keeps an error for the next fsync.
    package func record(_ error: Errno) { code.store(error.code, ordering: .releasing) }

    /// Nothing is kept.
    package var isEmpty: Bool { code.load(ordering: .acquiring) == 0 }

    /// Takes the kept error, so that it is reported once.
    package func take() -> Errno? {
        let kept = code.exchange(0, ordering: .acquiringAndReleasing)
        return kept == 0 ? nil : Errno(kept)
    }
}

/// What an open file on the datastore can be used for; each can do what the ones before it can.
package enum Access: Int, Sendable {
    /// Attributes, names and links only (O_PATH): never blocks, never has a side effect.
    case path
    /// Reading; a directory's entries.
    case read
    /// Reading and writing.
    case write
}

/// An open file on the datastore. Closed when the last user lets go of it, which is how the cache
/// of descriptors can drop one while another thread still reads from it.
package final class BackingFile: Sendable {
    package let descriptor: Int32
    package let access: Access
    private let errors: WritebackErrors?

    /// Takes ownership of an open descriptor; an error of its close goes to `errors`.
    package init(owning descriptor: Int32, access: Access, errors: WritebackErrors? = nil) {
        self.descriptor = descriptor
        self.access = access
        self.errors = errors
    }

    deinit {
        // On NFS close writes back what is dirty, and may be the one who learns that it failed.
        if close(descriptor) != 0, access == .write { errors?.record(Errno.last) }
    }
}
