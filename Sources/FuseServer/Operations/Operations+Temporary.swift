import CFuse
import CLinux
import DataPath
import Glibc
import Passthrough
import Syscalls

extension Operations {
    /// Answers FUSE_TMPFILE (open(2) with O_TMPFILE), which libfuse 3.14 does not know, in the
    /// kernel's own format. The file has no name until a LINK gives it one.
    static func makeTemporary(_ context: RequestContext) {
        let arguments = context.argument(as: fuse_create_in.self)
        do throws(Errno) {
            let entry = try context.datastore.makeTemporary(
                parent: NodeID(context.slot.header.pointee.nodeid), mode: arguments.mode,
                flags: Int32(bitPattern: arguments.flags), caller: context.caller)
            var reply = TemporaryReply(entry, timeout: context.datastore.attributeTimeout)
            withUnsafeMutableBytes(of: &reply) { send(context, $0, error: 0) }
        } catch {
            refuse(context, error)
        }
    }
}

/// The answer to FUSE_TMPFILE: `fuse_entry_out` and `fuse_open_out`, which lie behind one another
/// without a gap.
private struct TemporaryReply {
    var entry = fuse_entry_out()
    var file = fuse_open_out()

    init(_ made: Entry, timeout: Double) {
        entry.nodeid = made.node.rawValue
        entry.attr = fuse_attr(made.attributes)
        (entry.attr_valid, entry.attr_valid_nsec) = Self.split(timeout)
        // There is no name to believe in: entry_valid stays 0.
        file.open_flags = UInt32(FOPEN_KEEP_CACHE)
    }

    /// Seconds and nanoseconds of a timeout.
    private static func split(_ timeout: Double) -> (UInt64, UInt32) {
        let seconds = min(max(timeout, 0), 1e9)
        let whole = UInt64(seconds)
        return (whole, UInt32((seconds - Double(whole)) * 1e9))
    }
}

extension fuse_attr {
    /// Attributes as the kernel takes them.
    init(_ attributes: Attributes) {
        self.init()
        ino = attributes.inode
        size = attributes.size
        blocks = attributes.blocks
        atime = UInt64(bitPattern: attributes.accessed_seconds)
        mtime = UInt64(bitPattern: attributes.modified_seconds)
        ctime = UInt64(bitPattern: attributes.changed_seconds)
        atimensec = attributes.accessed_nanoseconds
        mtimensec = attributes.modified_nanoseconds
        ctimensec = attributes.changed_nanoseconds
        mode = attributes.mode
        nlink = attributes.links
        uid = attributes.uid
        gid = attributes.gid
        rdev = UInt32(truncatingIfNeeded: attributes.special_device)
        blksize = attributes.block_size
    }
}
