import CFuse
import ControlPath
import DataPath

/// The operations of the file system, in the order of `fuse_lowlevel_ops`. Each takes the request
/// apart, calls the data path and answers.
///
/// Left out on purpose: `access` (the kernel checks, by `default_permissions`), `getlk`, `setlk`,
/// `flock` (the kernel keeps locks, so that NLM and NFSv4 locks work through an export), `bmap`,
/// `poll` and `write_buf` (a write's bytes are used where they were received).
package enum Operations {
    /// The attributes below `user.forebay.`; set once, before the first request.
    nonisolated(unsafe) package static var virtualXattrs: VirtualXattrs?

    /// Held while a name is changed.
    static let nameLocks = NameLocks()

    /// The table for `fuse_session_new(3)`, without `init` and `destroy`, which are the session's.
    static func table() -> fuse_lowlevel_ops {
        var table = fuse_lowlevel_ops()
        addNames(to: &table)
        addAttributes(to: &table)
        addFiles(to: &table)
        addDirectories(to: &table)
        addExtendedAttributes(to: &table)
        return table
    }
}
