import CLinux
import Glibc
import Syscalls
import TestSupport

/// Reads past the kernel's page cache (O_DIRECT), so that every read reaches Forebay.
final class DirectReader: Sendable {
    private let file: OpenFile

    init(_ path: String) throws(Errno) { file = try OpenFile(path, O_RDONLY | OpenFile.direct) }

    /// One read(2); the bytes that came.
    func once(_ count: Int, at offset: Int) throws(Errno) -> [UInt8] {
        let buffer = AlignedBuffer(count)
        let (raw, start) = (file.raw, buffer.bytes.baseAddress)
        let done = try call { CLinux_pread(raw, start, count, Int64(offset)) }
        return Array(buffer.bytes[..<done])
    }

    /// The whole file, by reads of `chunk` bytes.
    func all(chunk: Int = 1 << 18) throws(Errno) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let part = try once(chunk, at: bytes.count)
            bytes += part
            if part.count < chunk { return bytes }
        }
    }
}

/// The whole of a file, read past the kernel's page cache.
func readDirect(_ path: String, chunk: Int = 1 << 18) throws(Errno) -> [UInt8] {
    try DirectReader(path).all(chunk: chunk)
}

/// The numbers of `user.forebay.stats`, to be compared with later ones.
struct Numbers {
    private let json: FlatJSON

    init(_ mount: ForebayMount, _ name: String = "") throws(Errno) {
        json = try mount.statistics(name)
    }

    subscript(_ key: String) -> Int { Int(clamping: json.integer(key) ?? .max) }

    /// How much a number has grown since `earlier`.
    func grown(_ key: String, since earlier: Numbers) -> Int { self[key] - earlier[key] }
}
