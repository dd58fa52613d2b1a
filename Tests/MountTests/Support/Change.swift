import CLinux
import CPosix
import Glibc
import Syscalls
import TestSupport
import Testing

/// A change that a client makes by one request, and what it does next once that is answered.
struct Change: Sendable {
    let name: String
    /// The request of linux/fuse.h by which the kernel asks for it.
    let opcode: Int
    /// Changes names, which only is right when it is done once.
    var isNamespace = true
    /// Makes what the change needs in a new folder.
    var prepare: @Sendable (String) throws -> Void = { _ in }
    /// Makes the change; nil when it succeeded.
    let act: @Sendable (String) -> Errno?
    /// What would be undone if the change were made a second time after it.
    let then: @Sendable (String) -> Errno?

    static let all = creations + links + removals + renames + contents + attributes

    private static let file: @Sendable (String) throws -> Void = { folder in
        try Files.write("\(folder)/file", pattern(10_000))
    }

    private static func create(_ path: String, _ mode: UInt32 = 0o640) -> Errno? {
        let raw = CLinux_open(path, O_CREAT | O_EXCL | O_RDWR, mode)
        defer { if raw >= 0 { close(raw) } }
        return failure { raw }
    }

    /// Runs calls until one fails.
    private static func each(_ calls: () -> Int32...) -> Errno? {
        for call in calls { if let error = failure(call) { return error } }
        return nil
    }

    /// Runs a call on an open file.
    private static func withFile(_ path: String, _ body: (Int32) -> Int) -> Errno? {
        let raw = CLinux_open(path, O_RDWR, 0)
        defer { if raw >= 0 { close(raw) } }
        return raw < 0 ? Errno.last : failure { body(raw) }
    }

    private static func write(_ folder: String, _ byte: UInt8) -> Errno? {
        let bytes = [UInt8](repeating: byte, count: 6000)
        return withFile("\(folder)/file") { pwrite($0, bytes, bytes.count, 1000) }
    }

    private static let creations = [
        Change(
            name: "create", opcode: 35, act: { create("\($0)/new") },
            then: { folder in
                if let error = each({ rename("\(folder)/new", "\(folder)/moved") }) { return error }
                return create("\(folder)/new", 0o600)
            }),
        Change(
            name: "create-by-user", opcode: 35,
            act: { folder in
                do { return try asUser(User.first) { create("\(folder)/new") } } catch {
                    return Errno(ENOTRECOVERABLE)
                }
            },
            then: { folder in each { chown("\(folder)/new", 5, 6) } }),
        Change(
            name: "mknod", opcode: 8,
            act: { folder in
                each { mknod("\(folder)/new", S_IFREG | 0o640, 0) }
            },
            then: { folder in
                each({ unlink("\(folder)/new") }, { mknod("\(folder)/new", S_IFIFO | 0o600, 0) })
            }),
        Change(
            name: "mkdir", opcode: 9, act: { folder in each { mkdir("\(folder)/new", 0o750) } },
            then: { folder in each { rmdir("\(folder)/new") } }),
        Change(
            name: "tmpfile", opcode: 51, isNamespace: false,
            act: { folder in
                let raw = CLinux_open(folder, CLinux_O_TMPFILE | O_RDWR, 0o640)
                defer { if raw >= 0 { close(raw) } }
                return failure { raw }
            },
            then: { _ in nil }),
    ]

    private static let links = [
        Change(
            name: "symlink", opcode: 6, act: { folder in each { symlink("to", "\(folder)/new") } },
            then: { folder in
                each({ unlink("\(folder)/new") }, { mkdir("\(folder)/new", 0o700) })
            }),
        Change(
            name: "link", opcode: 13, prepare: file,
            act: { folder in each { link("\(folder)/file", "\(folder)/new") } },
            then: { folder in each { unlink("\(folder)/new") } }),
    ]

    private static let removals = [
        Change(
            name: "unlink", opcode: 10, prepare: file,
            act: { folder in each { unlink("\(folder)/file") } },
            then: { folder in create("\(folder)/file") }),
        Change(
            name: "unlink-of-two", opcode: 10,
            prepare: { folder in
                try file(folder)
                try call { link("\(folder)/file", "\(folder)/other") }
            },
            act: { folder in each { unlink("\(folder)/file") } },
            then: { folder in each { link("\(folder)/other", "\(folder)/file") } }),
        Change(
            name: "rmdir", opcode: 11,
            prepare: { try call { [path = "\($0)/old"] in mkdir(path, 0o755) } },
            act: { folder in each { rmdir("\(folder)/old") } },
            then: { folder in each { mkdir("\(folder)/old", 0o700) } }),
    ]

    private static let two: @Sendable (String) throws -> Void = { folder in
        try file(folder)
        try Files.write("\(folder)/other", [1, 2, 3])
    }

    private static func rename2(_ folder: String, _ flags: Int32) -> Errno? {
        failure {
            CLinux_renameat(
                AT_FDCWD, "\(folder)/file", AT_FDCWD, "\(folder)/other", UInt32(flags))
        }
    }

    private static let renames = [
        Change(
            name: "rename", opcode: 12, prepare: file,
            act: { folder in each { rename("\(folder)/file", "\(folder)/other") } },
            then: { folder in create("\(folder)/file") }),
        Change(
            name: "rename-over", opcode: 12, prepare: two,
            act: { folder in each { rename("\(folder)/file", "\(folder)/other") } },
            then: { folder in each { rename("\(folder)/other", "\(folder)/file") } }),
        Change(
            name: "rename-without-replacing", opcode: 45, prepare: file,
            act: { rename2($0, CPosix_RENAME_NOREPLACE) },
            then: { folder in create("\(folder)/file") }),
        Change(
            name: "exchange", opcode: 45, prepare: two,
            act: { rename2($0, CPosix_RENAME_EXCHANGE) },
            then: { folder in each { unlink("\(folder)/other") } }),
    ]

    private static let contents = [
        Change(
            name: "write", opcode: 16, isNamespace: false, prepare: file,
            act: { write($0, 1) }, then: { write($0, 2) }),
        Change(
            name: "truncate", opcode: 4, isNamespace: false, prepare: file,
            act: { folder in each { truncate("\(folder)/file", 1500) } },
            then: { write($0, 2) }),
        Change(
            name: "fallocate", opcode: 43, isNamespace: false, prepare: file,
            act: { folder in
                withFile("\(folder)/file") { Int(CLinux_fallocate($0, 0, 0, 50_000)) }
            },
            then: { folder in each { truncate("\(folder)/file", 1500) } }),
        Change(
            name: "punch", opcode: 43, isNamespace: false, prepare: file,
            act: { folder in
                let mode = CPosix_FALLOC_PUNCH_HOLE | CPosix_FALLOC_KEEP_SIZE
                return withFile("\(folder)/file") { Int(CLinux_fallocate($0, mode, 0, 8000)) }
            },
            then: { write($0, 2) }),
        Change(
            name: "copy", opcode: 47, isNamespace: false, prepare: file,
            act: { folder in
                withFile("\(folder)/file") { raw in
                    var (from, to) = (Int64(0), Int64(5000))
                    return CLinux_copy_range(raw, &from, raw, &to, 4000)
                }
            },
            then: { write($0, 2) }),
    ]

    private static func setXattr(_ folder: String, _ value: String, _ flags: Int32) -> Errno? {
        failure { CPosix_setxattr("\(folder)/file", "user.test", value, value.utf8.count, flags) }
    }

    private static let attributes = [
        Change(
            name: "chmod", opcode: 4, isNamespace: false, prepare: file,
            act: { folder in each { chmod("\(folder)/file", 0o600) } },
            then: { folder in each { chmod("\(folder)/file", 0o444) } }),
        Change(
            name: "setxattr", opcode: 21, isNamespace: false, prepare: file,
            act: { setXattr($0, "one", CPosix_XATTR_CREATE) },
            then: { setXattr($0, "two", CPosix_XATTR_REPLACE) }),
        Change(
            name: "removexattr", opcode: 24, isNamespace: false,
            prepare: { folder in
                try file(folder)
                try Files.setXattr("\(folder)/file", "user.test", "old")
            },
            act: { folder in each { CPosix_removexattr("\(folder)/file", "user.test") } },
            then: { setXattr($0, "new", 0) }),
    ]
}
