import Glibc
import Policy
import Synchronization
import Syscalls

/// What a mount remembers of its flash device, in the file `flash` of the state folder: the
/// instance of the maps on it that are to be believed. The file is there only while the mount tells
/// the device of every write: without it nothing is believed.
final class RememberedFlash: Sendable {
    private let folder: String
    private var path: String { folder + "/flash" }
    private let turn = Mutex(())

    /// `folder`: the state folder.
    init(folder: String) { self.folder = folder }

    /// The instance, nil when there is none.
    var instance: UInt64? {
        guard let file = try? Descriptor(path: path, flags: O_RDONLY) else { return nil }
        let text = withUnsafeTemporaryAllocation(byteCount: 17, alignment: 1) { buffer in
            let count = Glibc.read(file.raw, buffer.baseAddress, buffer.count)
            return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        }
        return text.utf8.count == 16 ? UInt64(text, radix: 16) : nil
    }

    /// Remembers an instance, or nothing; durable when this returns. A failure is logged: what is
    /// not remembered is not believed, and what could not be forgotten is believed only for files
    /// that look as they did when they were last seen.
    func set(_ instance: UInt64?) {
        turn.withLock { _ in
            guard instance != self.instance || instance == nil else { return }
            do throws(Errno) {
                if let instance {
                    try store(instance)
                } else {
                    guard unlink(path) == 0 else {
                        if errno == ENOENT { return }
                        throw .last
                    }
                }
                let folder = try Descriptor(path: folder, flags: O_RDONLY | O_DIRECTORY)
                try call { fsync(folder.raw) }
            } catch {
                SystemLog.error("\(path) cannot be changed: \(error)")
            }
        }
    }

    private func store(_ instance: UInt64) throws(Errno) {
        let digits = String(instance, radix: 16)
        let text = Array((String(repeating: "0", count: 16 - digits.count) + digits).utf8)
        let passing = path + ".new"
        let file = try Descriptor(path: passing, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        guard try call({ pwrite(file.raw, text, text.count, 0) }) == text.count else {
            throw .noSpace
        }
        try call { fsync(file.raw) }
        try call { rename(passing, path) }
    }
}
