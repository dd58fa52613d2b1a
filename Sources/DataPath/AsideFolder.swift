import CLinux
import Glibc
import Journal
import Passthrough
import Policy
import Synchronization
import Syscalls

/// What the log had of files and the datastore does not take, kept for the administrator in the
/// folder `aside` of the state folder: for each file its pieces at their places in a sparse file,
/// and a text that says what they are.
final class AsideFolder: Sendable {
    /// What was set aside.
    struct Kept: Sendable {
        let path: String
        let bytes: UInt64
    }

    private let folder: String
    private let keeping = Mutex<[UInt64: Box]>([:])
    private let count = Atomic<UInt64>(0)

    /// What is being kept of one file.
    private final class Box: Sendable {
        let descriptor: Descriptor
        let path: String
        let notes = Mutex((text: "", bytes: UInt64(0)))

        init(_ descriptor: consuming Descriptor, _ path: String) {
            self.descriptor = descriptor
            self.path = path
        }
    }

    /// `state`: the state folder.
    init(state: String) { folder = state + "/aside" }

    /// Files that were set aside by this server.
    var files: UInt64 { count.load(ordering: .relaxed) }

    /// Begins with a file; `title` tells the administrator which it is and why. Throws what the
    /// state disk says.
    func begin(_ file: UInt64, title: String) throws(Errno) {
        if mkdir(folder, 0o700) != 0, errno != EEXIST { throw .last }
        let path = "\(folder)/\(String(file, radix: 16))-\(time(nil))"
        let pieces = try Descriptor(
            path: path + ".data", flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        let box = Box(pieces, path)
        box.notes.withLock { $0.text = title + "\n" }
        keeping.withLock { $0[file] = box }
    }

    private func box(_ file: UInt64) throws(Errno) -> Box {
        guard let box = keeping.withLock({ $0[file] }) else { throw .invalid }
        return box
    }

    /// Keeps bytes that were written.
    func keep(
        _ file: UInt64, _ bytes: UnsafeRawBufferPointer, at offset: UInt64
    ) throws(Errno) {
        let box = try box(file)
        let raw = box.descriptor.raw
        var done = 0
        while done < bytes.count {
            let place = done
            done += try call {
                CLinux_pwrite(
                    raw, bytes.baseAddress.map { $0 + place }, bytes.count - place,
                    Int64(offset) + Int64(place), 0)
            }
        }
        box.notes.withLock { $0.bytes += UInt64(bytes.count) }
        try note(file, "data", at: offset, length: UInt64(bytes.count))
    }

    /// Notes a piece without bytes, in a word.
    func note(_ file: UInt64, _ what: String, at offset: UInt64, length: UInt64) throws(Errno) {
        try box(file).notes.withLock { $0.text += "\(what) \(offset) \(length)\n" }
    }

    /// Ends it; durable when this returns. `size`: the size that clients saw.
    func end(_ file: UInt64, size: UInt64?) throws(Errno) -> Kept {
        let box = try box(file)
        let raw = box.descriptor.raw
        try call { fsync(raw) }
        let (text, bytes) = box.notes.withLock { ($0.text, $0.bytes) }
        let whole = text + (size.map { "size \($0)\n" } ?? "")
        try DurableFile.replace(
            box.path + ".txt", by: box.path + ".new", Array(whole.utf8), mode: 0o600)
        keeping.withLock { _ = $0.removeValue(forKey: file) }
        count.add(1, ordering: .relaxed)
        return Kept(path: box.path + ".data", bytes: bytes)
    }
}
