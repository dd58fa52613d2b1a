import Syscalls

/// A kind of request from the kernel: linux/fuse.h, enum fuse_opcode.
package struct OperationCode: Equatable, Sendable {
    package let rawValue: UInt32

    package init(_ rawValue: UInt32) { self.rawValue = rawValue }

    static let lookup = OperationCode(1)
    static let forget = OperationCode(2)
    static let read = OperationCode(15)
    static let write = OperationCode(16)
    static let initialize = OperationCode(26)
    static let fsync = OperationCode(20)
    static let interrupt = OperationCode(36)
    static let destroy = OperationCode(38)
    static let batchForget = OperationCode(42)
    static let temporary = OperationCode(51)

    /// Names by number, as the kernel's header has them, in lower case; nil for a number that is
    /// not known.
    package var name: String? {
        let index = Int(rawValue)
        guard index < Self.names.count else { return nil }
        return Self.names[index]
    }

    private static let names: [String?] = [
        nil, "lookup", "forget", "getattr", "setattr", "readlink", "symlink", nil, "mknod",
        "mkdir", "unlink", "rmdir", "rename", "link", "open", "read", "write", "statfs",
        "release", nil, "fsync", "setxattr", "getxattr", "listxattr", "removexattr", "flush",
        "init", "opendir", "readdir", "releasedir", "fsyncdir", "getlk", "setlk", "setlkw",
        "access", "create", "interrupt", "bmap", "destroy", "ioctl", "poll", "notify_reply",
        "batch_forget", "fallocate", "readdirplus", "rename2", "lseek", "copy_file_range",
        "setupmapping", "removemapping", "syncfs", "tmpfile", "statx",
    ]

    @inline(__always)
    private func isIn(_ set: UInt64) -> Bool { rawValue < 64 && set & (1 << UInt64(rawValue)) != 0 }

    private static func bits(_ numbers: UInt64...) -> UInt64 {
        numbers.reduce(0) { $0 | (1 << $1) }
    }

    /// Changes the datastore: its reply is kept before it is sent, and never done twice.
    @inline(__always)
    var mutates: Bool { isIn(Self.mutating) }

    private static let mutating = bits(4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51)

    /// Changes names: once a thread has begun it, it runs to its end whatever the caller does.
    var changesNames: Bool { isIn(Self.namespace) }

    private static let namespace = bits(6, 8, 9, 10, 11, 12, 13, 35, 45, 51)

    /// What the thread must be able to wait for, so that a first attempt elsewhere is in vain; nil
    /// when it may be answered from memory. `hasLog`: writes may go no farther than a log device.
    @inline(__always)
    func neededMode(hasLog: Bool) -> WaitMode? {
        guard isIn(Self.waiting) else { return nil }
        return hasLog && isIn(Self.logged) ? .flash : .datastore
    }

    private static let logged = bits(16, 20)
    private static let waiting = mutating | bits(18, 20, 29, 30, 46, 50)

    /// May be answered from memory while the datastore is silent.
    var mayBeAnsweredFromMemory: Bool { isIn(Self.fromMemory) }

    private static let fromMemory = bits(1, 3, 5, 14, 15, 17, 22, 23, 25, 27, 28, 34, 44)

    /// Is the transport's own business.
    @inline(__always)
    var isSpecial: Bool { self == .interrupt || self == .destroy }

    /// Has no reply at all.
    @inline(__always)
    var hasNoReply: Bool { self == .forget || self == .batchForget }
}
