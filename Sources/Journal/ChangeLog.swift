import Devices
import Syscalls

/// What the destager needs of a log. `Journal` is one.
package protocol ChangeLog: Sendable {
    /// Appends a record; answers where it is. Throws ENOSPC when there is no room, EIO when the log
    /// is poisoned.
    func append(
        _ record: JournalRecord, handle: [UInt8], payload: UnsafeRawBufferPointer, isDurable: Bool
    ) throws(Errno) -> LogPosition
    /// Everything that was appended is durable.
    func flush() throws(Errno)
    /// Bytes of the payload of a data record, from `skip` on.
    func read(
        _ position: LogPosition, skip: Int, into memory: UnsafeMutableRawBufferPointer
    ) throws(Errno)
    /// Records before `position` are not needed any more.
    func release(upTo position: LogPosition) throws(Errno)
    /// Where the next record will be, or a little before.
    var head: LogPosition { get }
    /// Bytes that the log can hold, and those in use.
    var capacity: UInt64 { get }
    var used: UInt64 { get }
}
