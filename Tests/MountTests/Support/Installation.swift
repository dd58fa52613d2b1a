import Glibc
import Syscalls
import TestSupport
import Testing

/// The programs installed in a folder of their own, where they can be replaced while a mount made
/// from there serves.
final class Installation {
    private let folder: TemporaryFolder
    private let number: Int

    init() throws {
        folder = try TemporaryFolder("installed")
        number = 0
        for program in [try Programs.forebay, try Programs.forebayServer] {
            try ChildProcess.check("cp", [program, folder.path])
        }
    }

    /// The command line tool.
    var forebay: String { folder.path("forebay") }
    /// The keeper and the server.
    var server: String { folder.path("forebay-server") }

    /// Puts bytes in the place of the server's program at once, as an installation does.
    func replace(with bytes: [UInt8], mode: UInt32 = 0o755) throws {
        let fresh = folder.path("forebay-server.new")
        try Files.write(fresh, bytes)
        try must { chmod(fresh, mode) }
        try must { rename(fresh, server) }
    }

    /// Replaces the server's program by one in which a text of the same length stands for another:
    /// a version of its own. Throws when the text is not in it.
    func replace(_ text: String, by other: String) throws {
        var bytes = try Files.read(server)
        let (old, new) = (Array(text.utf8), Array(other.utf8))
        var found = 0
        if let first = old.first, old.count == new.count {
            bytes.withUnsafeMutableBytes { found = Self.replace(old, first, by: new, in: $0) }
        }
        guard found > 0 else { throw TestFailure("\(text) is not in the program") }
        try replace(with: bytes)
    }

    private static func replace(
        _ old: [UInt8], _ first: UInt8, by new: [UInt8], in space: UnsafeMutableRawBufferPointer
    ) -> Int {
        guard let base = space.baseAddress else { return 0 }
        var (place, found) = (0, 0)
        while let hit = memchr(base + place, Int32(first), space.count - place) {
            place = UnsafeRawPointer(hit) - UnsafeRawPointer(base) + 1
            guard place - 1 + old.count <= space.count, memcmp(hit, old, old.count) == 0 else {
                continue
            }
            memcpy(hit, new, new.count)
            found += 1
        }
        return found
    }

    /// Whether a process runs the program that is installed now.
    func isRun(by process: Int32) -> Bool {
        var running = stat()
        var installed = stat()
        return stat("/proc/\(process)/exe", &running) == 0 && stat(server, &installed) == 0
            && running.st_ino == installed.st_ino && running.st_dev == installed.st_dev
    }
}
