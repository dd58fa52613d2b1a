import CFuse
import CLinux
import DataPath
import Glibc
import Passthrough

extension Attributes {
    /// The attributes as libfuse takes them (stat(2)).
    var status: stat {
        var status = stat()
        status.st_ino = .init(truncatingIfNeeded: inode)
        status.st_mode = mode
        status.st_nlink = .init(truncatingIfNeeded: links)
        status.st_uid = uid
        status.st_gid = gid
        status.st_rdev = .init(truncatingIfNeeded: special_device)
        status.st_size = .init(truncatingIfNeeded: size)
        status.st_blocks = .init(truncatingIfNeeded: blocks)
        status.st_blksize = .init(truncatingIfNeeded: block_size)
        status.st_atim = timespec(accessed_seconds, accessed_nanoseconds)
        status.st_mtim = timespec(modified_seconds, modified_nanoseconds)
        status.st_ctim = timespec(changed_seconds, changed_nanoseconds)
        return status
    }
}

extension stat {
    /// What a directory entry tells of a file: its inode number and its `DT_` type.
    init(inode: UInt64, type: UInt8) {
        self.init()
        st_ino = .init(truncatingIfNeeded: inode)
        st_mode = mode_t(type) << 12
    }
}

extension timespec {
    init(_ seconds: Int64, _ nanoseconds: UInt32) {
        self.init(tv_sec: Int(seconds), tv_nsec: Int(nanoseconds))
    }
}

extension fuse_entry_param {
    /// A name that exists. The generation is always 0, because a node id is never used again; the
    /// kernel may believe name and attributes for `timeout` seconds.
    init(_ entry: Entry, timeout: Double) {
        self.init()
        ino = entry.node.rawValue
        attr = entry.attributes.status
        attr_timeout = timeout
        entry_timeout = timeout
    }
}

extension fuse_file_info {
    /// An open file. It has no handle of its own (`fh` 0): everything is found by the node id, so
    /// that a successor of this process can serve it.
    init(keepCache: Bool) {
        self.init()
        keep_cache = keepCache ? 1 : 0
    }
}

extension AttributeChange {
    /// The change that a SETATTR asks for. `wanted` holds `FUSE_SET_ATTR_` bits; the change time
    /// is left out, because no call of the kernel sets it on the datastore.
    init(_ status: stat, wanted: Int32) {
        self.init()
        if wanted & FUSE_SET_ATTR_MODE != 0 { mode = status.st_mode & 0o7777 }
        if wanted & FUSE_SET_ATTR_UID != 0 { uid = status.st_uid }
        if wanted & FUSE_SET_ATTR_GID != 0 { gid = status.st_gid }
        if wanted & FUSE_SET_ATTR_SIZE != 0 { size = UInt64(bitPattern: Int64(status.st_size)) }
        if wanted & FUSE_SET_ATTR_ATIME != 0 {
            accessed = TimeChange(
                status.st_atim, isNow: wanted & FUSE_SET_ATTR_ATIME_NOW != 0)
        }
        if wanted & FUSE_SET_ATTR_MTIME != 0 {
            modified = TimeChange(
                status.st_mtim, isNow: wanted & FUSE_SET_ATTR_MTIME_NOW != 0)
        }
        killSetID = wanted & FATTR_KILL_SUIDGID != 0
    }
}

extension TimeChange {
    init(_ time: timespec, isNow: Bool) {
        let nanoseconds = UInt32(truncatingIfNeeded: time.tv_nsec)
        self = isNow ? .now : .at(seconds: Int64(time.tv_sec), nanoseconds: nanoseconds)
    }
}
