import CLinux
import Glibc
import Policy
import Syscalls

/// What the datastore's file system can do. Nothing is written to find out.
extension Preflight {
    private var subject: String { "backing '\(options.backing)'" }

    /// Whether root is root there. A filer that maps root to nobody ("root squash") shows it by
    /// refusing what the modes keep from others.
    func access() -> PreflightCheck {
        let backing = options.backing
        let readOnly = options.readOnly
        let probe = withTimeLimit(milliseconds: Self.patience * 2) {
            AccessProbe(folder: backing, readOnly: readOnly)
        }
        let squash = "root is mapped to nobody there (root squash)"
        let mend = "on the filer export it with no_root_squash and rw to this machine"
        switch probe?.verdict {
        case nil: return .fail("access", subject, "does not answer", mend: "see the filer")
        case .readOnly:
            return .fail(
                "access", subject, "is read-only", mend: "mount it rw, or add the option ro")
        case .refused(let what):
            return .fail("access", subject, "\(squash): \(what) is refused", mend: mend)
        case .granted: return .pass("access", subject, "root may do everything")
        case .unknown:
            guard Self.isRemote(table.entry(containing: backing)?.type ?? "") else {
                return .pass("access", subject, "root may do everything")
            }
            return .warn(
                "access", subject, "whether \(squash) cannot be seen without writing",
                mend: "make sure that the filer exports it with no_root_squash")
        }
    }

    func handles() -> PreflightCheck {
        let backing = options.backing
        let code = withTimeLimit(milliseconds: Self.patience) { () -> Int32 in
            var bytes = [UInt8](repeating: 0, count: 128)
            var (length, type, mount) = (UInt32(0), Int32(0), Int32(0))
            guard CLinux_name_to_handle(AT_FDCWD, backing, 0, &bytes, &length, &type, &mount) == 0
            else { return errno }
            let flags = O_RDONLY | O_DIRECTORY
            guard let folder = try? Descriptor(path: backing, flags: flags) else { return EACCES }
            let opened = CLinux_open_by_handle(folder.raw, bytes, length, type, flags | O_CLOEXEC)
            guard opened >= 0 else { return errno }
            close(opened)
            return 0
        }
        if code == 0 { return .pass("handles", subject, "files can be opened by handle") }
        let reason = code.map { Errno($0).description } ?? "does not answer"
        return .warn(
            "handles", subject,
            "files cannot be opened by handle (\(reason)): identity rests on inode numbers",
            mend: "use a file system with handles, such as NFS, ext4, XFS")
    }

    func nestedMounts() -> PreflightCheck {
        let nested = table.entries(below: options.backing)
        guard let first = nested.first else {
            return .pass("nested-mounts", subject, "has no mounts below it")
        }
        let more = nested.count > 1 ? " and \(nested.count - 1) more" : ""
        return .warn(
            "nested-mounts", subject,
            "\(first.mountpoint)\(more) is a mount below it: it will not be reachable (EXDEV)",
            mend: "give each file system a mount of its own")
    }
}

/// Looks for a sign of whether this process is root for the file system.
private struct AccessProbe: Sendable {
    enum Verdict: Sendable {
        case granted
        case refused(String)
        case readOnly
        case unknown
    }

    private(set) var verdict = Verdict.unknown

    init(folder: String, readOnly: Bool) {
        var status = stat()
        guard stat(folder, &status) == 0, access(folder, R_OK | X_OK) == 0 else {
            verdict = .refused("reading")
            return
        }
        if !readOnly, access(folder, W_OK) != 0 {
            verdict = errno == EROFS ? .readOnly : .refused("writing")
            return
        }
        // Nobody may write into it, and we may: we are not nobody.
        let isOthers = status.st_uid >= 65533 || status.st_mode & S_IWOTH != 0
        if !readOnly && !isOthers {
            verdict = .granted
            return
        }
        for name in TextFile.names(in: folder, limit: 200) {
            let path = "\(folder)/\(name)"
            guard lstat(path, &status) == 0, status.st_uid < 65533,
                status.st_mode & S_IROTH == 0,
                [S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT)
            else { continue }
            verdict = access(path, R_OK) == 0 ? .granted : .refused("reading \(name)")
            return
        }
    }
}
