import CLinux
import CPosix
import Glibc
import Syscalls
import Testing

/// The error that a call of the C library left, nil when it succeeded. Nothing is repeated.
func failure<Result: FixedWidthInteger & SignedInteger>(_ body: () -> Result) -> Errno? {
    body() < 0 ? Errno(errno) : nil
}

/// Expects that a call fails with this error.
func expect<Result: FixedWidthInteger & SignedInteger>(
    _ expected: Errno, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () -> Result
) {
    let found = failure(body)
    #expect(found == expected, sourceLocation: sourceLocation)
}

/// Expects that a call succeeds; ends the test where it does not.
@discardableResult
func must<Result: FixedWidthInteger & SignedInteger>(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () -> Result
) throws -> Result {
    let result = body()
    let code = errno
    try #require(result >= 0, "\(Errno(code))", sourceLocation: sourceLocation)
    return result
}

extension Errno {
    static let tooManySymlinks = Errno(ELOOP)
    static let badDescriptor = Errno(EBADF)
    static let textBusy = Errno(ETXTBSY)
    static let again = Errno(EAGAIN)
    static let noDevice = Errno(ENXIO)
}

/// What a name has, without following a symbolic link at its end.
func status(
    _ path: String, sourceLocation: SourceLocation = #_sourceLocation
) throws -> CLinux_attributes {
    var attributes = CLinux_attributes()
    try must(sourceLocation: sourceLocation) {
        CLinux_statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &attributes)
    }
    return attributes
}

/// What an open file has.
func status(
    of file: TestFile, sourceLocation: SourceLocation = #_sourceLocation
) throws -> CLinux_attributes {
    var attributes = CLinux_attributes()
    try must(sourceLocation: sourceLocation) {
        CLinux_statx(file.raw, "", CPosix_AT_EMPTY_PATH, &attributes)
    }
    return attributes
}

/// A time of a file that can be compared.
struct FileTime: Comparable, CustomStringConvertible {
    var seconds: Int64
    var nanoseconds: UInt32

    static func < (left: FileTime, right: FileTime) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }

    var description: String { "\(seconds) s \(nanoseconds) ns" }
}

extension CLinux_attributes {
    /// Mode bits without the type.
    var permissions: UInt32 { mode & 0o7777 }
    var type: UInt32 { mode & UInt32(S_IFMT) }
    var accessed: FileTime {
        FileTime(seconds: accessed_seconds, nanoseconds: accessed_nanoseconds)
    }
    var modified: FileTime {
        FileTime(seconds: modified_seconds, nanoseconds: modified_nanoseconds)
    }
    var changed: FileTime { FileTime(seconds: changed_seconds, nanoseconds: changed_nanoseconds) }
}

/// An open descriptor, closed at the end or by `close()`.
final class TestFile {
    private(set) var raw: Int32

    init(
        _ path: String, _ flags: Int32 = O_RDWR | O_CREAT, mode: UInt32 = 0o644,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        raw = try must(sourceLocation: sourceLocation) {
            CLinux_open(path, flags | O_CLOEXEC, mode)
        }
    }

    init(owning raw: Int32) { self.raw = raw }

    deinit { close() }

    func close() {
        if raw >= 0 { _ = Glibc.close(raw) }
        raw = -1
    }

    /// Writes all bytes at an offset.
    func write(
        _ bytes: [UInt8], at offset: Int = 0, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let count = try must(sourceLocation: sourceLocation) {
            pwrite(raw, bytes, bytes.count, offset)
        }
        #expect(count == bytes.count, sourceLocation: sourceLocation)
    }

    /// Reads up to `count` bytes at an offset, by as many calls as that takes.
    func read(
        _ count: Int, at offset: Int = 0, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        var done = 0
        while done < count {
            let part = try must(sourceLocation: sourceLocation) {
                bytes.withUnsafeMutableBytes {
                    pread(raw, $0.baseAddress.map { $0 + done }, count - done, offset + done)
                }
            }
            if part == 0 { break }
            done += part
        }
        return Array(bytes[..<done])
    }
}

/// Writes a file anew.
func put(
    _ bytes: [UInt8], in path: String, sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let file = try TestFile(path, O_WRONLY | O_CREAT | O_TRUNC, sourceLocation: sourceLocation)
    try file.write(bytes, sourceLocation: sourceLocation)
}

/// The whole of a file.
func contents(
    _ path: String, sourceLocation: SourceLocation = #_sourceLocation
) throws -> [UInt8] {
    let file = try TestFile(path, O_RDONLY, sourceLocation: sourceLocation)
    let size = try status(of: file, sourceLocation: sourceLocation).size
    return try file.read(Int(size) + 1, sourceLocation: sourceLocation)
}

/// Bytes that differ in every place and from seed to seed, so that a block in the wrong place
/// shows.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    while bytes.count < count {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        var word = state ^ (state >> 33)
        for _ in 0..<min(8, count - bytes.count) {
            bytes.append(UInt8(truncatingIfNeeded: word))
            word >>= 8
        }
    }
    return bytes
}

/// The names in a directory but "." and "..", sorted.
func names(in path: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> [String] {
    let directory = try #require(opendir(path), sourceLocation: sourceLocation)
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = nameOf(entry)
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// The name in an entry of readdir(3).
func nameOf(_ entry: UnsafeMutablePointer<dirent>) -> String {
    withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
}
