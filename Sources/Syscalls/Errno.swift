import Glibc

/// An error number of the kernel (errno(3)), thrown by every call that can fail.
package struct Errno: Error, Hashable, BitwiseCopyable, Sendable {
    /// The number as the kernel gives it, positive.
    package let code: Int32

    package init(_ code: Int32) { self.code = code }

    /// The number that the last failed call of this thread left behind.
    package static var last: Errno { Errno(errno) }

    /// Not the kernel's: the request needs the datastore, and the thread that works on it may not
    /// wait. The request is given to a thread that may.
    package static let mustWait = Errno(-1)

    /// Not the kernel's: the request needs the flash device and no more, and the thread that works
    /// on it may not wait for that.
    package static let mustReadFlash = Errno(-2)
    /// A file is not as we left it: others changed it, and what is kept for it is not written.
    package static let changedByOthers = Errno(-3)

    package static let noEntry = Errno(ENOENT)
    package static let stale = Errno(ESTALE)
    package static let timedOut = Errno(ETIMEDOUT)
    package static let interrupted = Errno(EINTR)
    package static let exists = Errno(EEXIST)
    package static let invalid = Errno(EINVAL)
    package static let io = Errno(EIO)
    package static let notPermitted = Errno(EPERM)
    package static let accessDenied = Errno(EACCES)
    package static let notSupported = Errno(EOPNOTSUPP)
    package static let notImplemented = Errno(ENOSYS)
    package static let crossDevice = Errno(EXDEV)
    package static let noData = Errno(ENODATA)
    package static let range = Errno(ERANGE)
    package static let nameTooLong = Errno(ENAMETOOLONG)
    package static let notEmpty = Errno(ENOTEMPTY)
    package static let isDirectory = Errno(EISDIR)
    package static let notDirectory = Errno(ENOTDIR)
    package static let noMemory = Errno(ENOMEM)
    package static let tooBig = Errno(E2BIG)
    package static let fileTooBig = Errno(EFBIG)
    package static let noSpace = Errno(ENOSPC)
    package static let readOnly = Errno(EROFS)
    package static let busy = Errno(EBUSY)
    package static let tooManyLinks = Errno(ELOOP)
}

extension Errno: CustomStringConvertible {
    /// The text of strerror(3).
    package var description: String {
        if self == .mustWait { return "must wait for the datastore" }
        if self == .mustReadFlash { return "must wait for the flash device" }
        return String(cString: strerror(code))
    }
}

/// Runs a call of the C library that answers -1 on failure: repeats it when a signal interrupted
/// it, throws its error number otherwise. Every system call of the project goes through here.
@inline(__always)
@discardableResult
package func call<Result: FixedWidthInteger & SignedInteger>(
    _ body: () -> Result
) throws(Errno) -> Result {
    while true {
        let result = body()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw Errno(code) }
    }
}
