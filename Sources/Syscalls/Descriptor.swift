import CLinux
import Glibc

/// An open file descriptor with one owner, closed when the owner goes.
package struct Descriptor: ~Copyable, Sendable {
    package let raw: Int32

    /// Takes ownership of an open descriptor.
    package init(owning raw: Int32) { self.raw = raw }

    /// Opens a path. The corresponding C function is `open`; O_CLOEXEC is always added.
    package init(path: String, flags: Int32, mode: UInt32 = 0) throws(Errno) {
        raw = try call { CLinux_open(path, flags | O_CLOEXEC, mode) }
    }

    /// Opens a name in a directory. The corresponding C function is `openat`.
    package init(
        directory: Int32, name: UnsafePointer<CChar>, flags: Int32, mode: UInt32 = 0
    ) throws(Errno) {
        raw = try call { CLinux_openat(directory, name, flags | O_CLOEXEC, mode) }
    }

    /// Gives the descriptor away: the caller closes it.
    package consuming func release() -> Int32 {
        let raw = self.raw
        discard self
        return raw
    }

    deinit { close(raw) }
}
