/// The operations that a fault can be set for and that are counted: FUSE's own names
/// (linux/fuse.h). FORGET and INTERRUPT are left out: nobody waits for them.
enum Operation: String, CaseIterable {
    case lookup, getattr, setattr, readlink
    case mknod, mkdir, symlink, unlink, rmdir, rename, link, create
    case open, read, write, flush, release, fsync
    case opendir, readdir, readdirplus, releasedir, fsyncdir
    case statfs
    case getxattr, setxattr, listxattr, removexattr
    case fallocate, lseek
    case copyFileRange = "copy_file_range"

    /// Its place in tables by operation.
    var index: Int { Operation.places[self] ?? 0 }

    private static let places: [Operation: Int] = Dictionary(
        uniqueKeysWithValues: allCases.enumerated().map { ($0.element, $0.offset) })

    /// The operations that a name of the control protocol stands for; `all` stands for each of
    /// them. Empty when there is none of that name.
    static func named(_ name: some StringProtocol) -> [Operation] {
        if name == "all" { return allCases }
        return Operation(rawValue: String(name)).map { [$0] } ?? []
    }
}
