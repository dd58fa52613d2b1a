import Glibc

/// The errors that a datastore answers with, by the names of errno(3). Any other one is given as a
/// number.
enum ErrorNames {
    private static let codes: [String: Int32] = [
        "EACCES": EACCES, "EAGAIN": EAGAIN, "EBUSY": EBUSY, "EDQUOT": EDQUOT, "EEXIST": EEXIST,
        "EFBIG": EFBIG, "EINTR": EINTR, "EINVAL": EINVAL, "EIO": EIO, "EISDIR": EISDIR,
        "EMFILE": EMFILE, "ENFILE": ENFILE, "ENODATA": ENODATA, "ENODEV": ENODEV, "ENOENT": ENOENT,
        "ENOMEM": ENOMEM, "ENOSPC": ENOSPC, "ENOSYS": ENOSYS, "ENOTCONN": ENOTCONN,
        "ENOTDIR": ENOTDIR, "ENOTEMPTY": ENOTEMPTY, "ENXIO": ENXIO, "EOPNOTSUPP": EOPNOTSUPP,
        "EPERM": EPERM, "EREMOTEIO": EREMOTEIO, "EROFS": EROFS, "ESTALE": ESTALE,
        "ETIMEDOUT": ETIMEDOUT, "EXDEV": EXDEV,
    ]

    /// The number of an error given by name or as a number from 1 to 511, the range that the
    /// kernel takes from a FUSE server; nil when it is neither.
    static func code(_ text: some StringProtocol) -> Int32? {
        if let code = codes[String(text)] { return code }
        guard let code = Int32(text), (1...511).contains(code) else { return nil }
        return code
    }
}
