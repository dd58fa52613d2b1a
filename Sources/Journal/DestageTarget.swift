import Glibc
import Syscalls

/// Where dirty data goes. Files are named by their node number. ESTALE and ENOENT say that the file
/// is gone, ETIMEDOUT that the datastore cannot be asked now, other errors that it does not take
/// the change. Several threads call it, for one file too, but not for the same bytes.
package protocol DestageTarget: Sendable {
    /// Writes all of the bytes, durably if that is asked for.
    func write(
        _ file: UInt64, _ bytes: UnsafeRawBufferPointer, at offset: UInt64, isDurable: Bool
    ) throws(Errno)
    /// Cuts the file off or extends it.
    func truncate(_ file: UInt64, to size: UInt64) throws(Errno)
    /// Makes bytes zeros; the size stays, and bytes behind it are of no interest.
    func zero(_ file: UInt64, at offset: UInt64, length: UInt64) throws(Errno)
    /// Everything that was done to the file is durable.
    func sync(_ file: UInt64) throws(Errno)
    /// All of an epoch is there and durable: sets the time of modification and tells how the file
    /// looks now.
    func finish(_ file: UInt64, modified: Timestamp) throws(Errno) -> FileState

    /// The datastore does not take what is dirty of the file: it is kept for the administrator, in
    /// pieces, in order of their offsets. `handle` is the file's as the log has it.
    func beginSettingAside(
        _ file: UInt64, handle: [UInt8], because error: Errno
    ) throws(Errno)
    /// A piece of what was written.
    func setAside(
        _ file: UInt64, _ bytes: UnsafeRawBufferPointer, at offset: UInt64
    ) throws(Errno)
    /// A piece that was zeroed.
    func setAsideZeros(_ file: UInt64, at offset: UInt64, length: UInt64) throws(Errno)
    /// A piece that was written, and that the log device does not give back.
    func reportUnreadable(_ file: UInt64, at offset: UInt64, length: UInt64) throws(Errno)
    /// There are no more pieces; they are durable when this returns. `size`: what clients saw as
    /// the file's size; nil when it is the datastore's or the end of the last piece.
    func endSettingAside(
        _ file: UInt64, size: UInt64?, modified: Timestamp
    ) throws(Errno)
}

extension Errno {
    /// The file is gone, or is not the one it was: trying again does not help.
    var saysGone: Bool { self == .stale || self == .noEntry || self == .changedByOthers }

    /// The datastore or this machine is in a state that passes: the same is tried again, and
    /// nothing is given up.
    var saysLater: Bool {
        switch code {
        case ETIMEDOUT, EAGAIN, EINTR, ENOMEM, ENOBUFS, EMFILE, ENFILE, ENOTCONN, ECONNREFUSED,
            ECONNRESET, ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENETRESET,
            ECANCELED:
            true
        default: false
        }
    }
}
