import CFuse
import Policy

/// What is agreed with the kernel in INIT, once in the life of a mount.
enum Capabilities {
    /// The `init` of fuse_lowlevel_ops. A flag may only be wanted when the kernel has it.
    static func configure(_ connection: UnsafeMutablePointer<fuse_conn_info>) {
        let capable = connection.pointee.capable
        connection.pointee.want = wanted & capable
        connection.pointee.max_write = min(
            connection.pointee.max_write, UInt32(Limits.requestSize))
        connection.pointee.max_readahead = min(
            connection.pointee.max_readahead, UInt32(Limits.readAhead))
        connection.pointee.max_background = background(Limits.parkedSlots)
        connection.pointee.congestion_threshold = background(Limits.parkedSlots)
        connection.pointee.time_gran = 1
    }

    /// EXPORT_SUPPORT: a handle of an NFS client may name a file that the kernel has forgotten.
    /// EXPLICIT_INVAL_DATA, and AUTO_INVAL_DATA not: nfsd asks for attributes after every write,
    /// and any change of the modification time would drop all cached pages of the file.
    /// READDIRPLUS always, as every listing of an NFS client wants attributes.
    /// Left out: writeback cache (it would lose writes that were replied to), splice (requests
    /// must be read into the slots), locks (the kernel keeps them; lock requests of NFS would
    /// fail otherwise), O_TRUNC in open, and the first form of privilege killing.
    private static let wanted: UInt32 = {
        let flags: [UInt32] = [
            UInt32(FUSE_CAP_EXPORT_SUPPORT), UInt32(FUSE_CAP_EXPLICIT_INVAL_DATA),
            UInt32(FUSE_CAP_READDIRPLUS), UInt32(FUSE_CAP_ASYNC_READ),
            UInt32(FUSE_CAP_PARALLEL_DIROPS), UInt32(FUSE_CAP_ASYNC_DIO),
        ]
        return flags.reduce(0, |)
    }()

    /// Changes the reply of INIT to what libfuse 3.14 cannot express.
    ///
    /// HANDLE_KILLPRIV_V2: without it the kernel asks for `security.capability` before every
    /// write. With it, writes and truncations say when set-user-ID bits must go.
    /// The number of background requests is that of requests that can wait: the kernel's own
    /// read-ahead counts against it, and a dozen stuck misses would hold up every cached read.
    static func patch(
        _ reply: UnsafeMutablePointer<fuse_init_out>, offered: UInt32, waitingSlots: Int
    ) {
        let killPrivileges = UInt32(1) << 28
        let accessLists = UInt32(1) << 20
        reply.pointee.flags &= ~accessLists
        if offered & killPrivileges != 0 { reply.pointee.flags |= killPrivileges }
        reply.pointee.max_background = UInt16(clamping: waitingSlots)
        reply.pointee.congestion_threshold = UInt16(clamping: waitingSlots)
    }

    private static func background(_ slots: Int) -> UInt32 { UInt32(UInt16(clamping: slots)) }
}
