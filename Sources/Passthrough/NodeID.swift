import CLinux

/// The number by which the kernel, and through it every NFS client handle, names a file.
/// Derived from the datastore's own file handle, so it is the same after any restart and is never
/// given to another file.
package struct NodeID: Hashable, BitwiseCopyable, Sendable {
    package let rawValue: UInt64

    package init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// The folder that is mounted (FUSE_ROOT_ID).
    package static let root = NodeID(1)
}

/// A file name as it lies in the request: bytes, ended by NUL.
package typealias Name = UnsafePointer<CChar>

/// What statx(2) tells of a file; times in seconds and nanoseconds, `blocks` in 512-byte units.
package typealias Attributes = CLinux_attributes
