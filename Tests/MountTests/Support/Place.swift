import Glibc
import Testing

/// Where tests of POSIX semantics work: a Forebay mount, or any folder named by the environment's
/// FOREBAY_TEST_FOLDER, by which the tests themselves are tested.
struct Place: Sendable {
    /// The folder that is tested.
    let folder: String
    /// The same folder on the datastore, where there is one.
    let backing: String?

    /// True on a Forebay mount.
    var isForebay: Bool { backing != nil }

    @TaskLocal static var current: Place?
}

/// A folder of one test, removed with all in it at the end.
final class TestFolder {
    let path: String
    let isForebay: Bool

    init(
        mode: UInt32 = 0o755, owner: UInt32 = 0, group: UInt32 = 0,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let place = try #require(Place.current, sourceLocation: sourceLocation)
        isForebay = place.isForebay
        var template = Array((place.folder + "/test-XXXXXX").utf8CString)
        let made = try #require(mkdtemp(&template), sourceLocation: sourceLocation)
        path = String(cString: made)
        try must(sourceLocation: sourceLocation) { chown(path, owner, group) }
        try must(sourceLocation: sourceLocation) { chmod(path, mode) }
    }

    deinit { removeTree(path) }

    /// The path of a name in the folder.
    func callAsFunction(_ name: String) -> String { path + "/" + name }

    /// Makes a file that holds `bytes` and answers its path.
    func file(
        _ name: String, _ bytes: [UInt8] = [], mode: UInt32 = 0o644, owner: UInt32 = 0,
        group: UInt32 = 0, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> String {
        try put(bytes, in: self(name), sourceLocation: sourceLocation)
        try must(sourceLocation: sourceLocation) { chown(self(name), owner, group) }
        try must(sourceLocation: sourceLocation) { chmod(self(name), mode) }
        return self(name)
    }

    /// Makes a directory and answers its path.
    func directory(
        _ name: String, mode: UInt32 = 0o755, owner: UInt32 = 0, group: UInt32 = 0,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> String {
        try must(sourceLocation: sourceLocation) { mkdir(self(name), 0o700) }
        try must(sourceLocation: sourceLocation) { chown(self(name), owner, group) }
        try must(sourceLocation: sourceLocation) { chmod(self(name), mode) }
        return self(name)
    }
}

/// Removes a file, or a directory with all in it. What cannot be removed stays.
func removeTree(_ path: String) {
    if unlink(path) == 0 || rmdir(path) == 0 { return }
    guard let directory = opendir(path) else { return }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = nameOf(entry)
        if name != ".", name != ".." { names.append(name) }
    }
    closedir(directory)
    for name in names { removeTree(path + "/" + name) }
    rmdir(path)
}
