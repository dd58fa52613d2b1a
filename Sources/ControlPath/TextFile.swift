import Glibc
import Syscalls

/// Small files of the kernel's: /proc, /sys.
package enum TextFile {
    /// The whole text, at most `limit` bytes of it; nil when it cannot be read.
    package static func read(_ path: String, limit: Int = 1 << 22) -> String? {
        guard let file = try? Descriptor(path: path, flags: O_RDONLY) else { return nil }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while bytes.count < limit {
            let count = Glibc.read(file.raw, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The text without the white space around it.
    package static func word(_ path: String) -> String? {
        read(path, limit: 4096)?.split(whereSeparator: \.isWhitespace).first.map(String.init)
    }

    /// The text that a symbolic link holds; nil when it is none. Asks /proc only, so it never
    /// waits for a file system.
    package static func link(_ path: String) -> String? {
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The names in a folder, without "." and ".."; empty when it cannot be read. At most `limit`.
    package static func names(in folder: String, limit: Int = 1 << 20) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while names.count < limit, let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }
}

/// Runs `body` on a thread of its own and waits for its result at most so long; nil when it takes
/// longer. A thread that hangs in a file system is left behind: it ends with the process.
package func withTimeLimit<Result: Sendable>(
    milliseconds: UInt64, _ body: @escaping @Sendable () -> Result
) -> Result? {
    let outcome = Condition<Result?>(nil)
    let thread = try? Thread(name: "time limit") {
        let result = body()
        outcome.update { $0 = result }
    }
    guard let thread else { return nil }
    thread.detach()
    return outcome.wait(until: monotonicNanoseconds() + .milliseconds(milliseconds)) { $0 }
}
