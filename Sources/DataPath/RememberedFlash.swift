import Glibc
import Policy
import Synchronization
import Syscalls

/// What a mount remembers of its flash device, in the file `flash` of the state folder: the
/// instance of the maps on it that are to be believed. The file is there only while the mount tells
/// the device of every write: without it nothing is believed.
final class RememberedFlash: Sendable {
    private let path: String
    private let turn = Mutex(())

    /// `folder`: the state folder.
    init(folder: String) { path = folder + "/flash" }

    /// The instance and the writes of the header that the device had at least; nil when nothing is
    /// remembered.
    var value: (instance: UInt64, sequence: UInt64)? {
        guard let file = try? Descriptor(path: path, flags: O_RDONLY) else { return nil }
        let text = withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
            let count = Glibc.read(file.raw, buffer.baseAddress, buffer.count)
            return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        }
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 2, let instance = UInt64(words[0], radix: 16),
            let sequence = UInt64(words[1], radix: 16)
        else { return nil }
        return (instance, sequence)
    }

    /// Remembers an instance; durable when this returns. After a failure it may not be, and is then
    /// not believed.
    func set(_ instance: UInt64, sequence: UInt64) {
        change { () throws(Errno) in
            let text = String(instance, radix: 16) + " " + String(sequence, radix: 16)
            try DurableFile.replace(path, by: path + ".new", Array(text.utf8), mode: 0o600)
        }
    }

    /// Remembers nothing any more; durable when this returns. What could not be forgotten is
    /// believed only for files that look as they did when they were last seen.
    func forget() {
        change { () throws(Errno) in _ = try DurableFile.remove(path) }
    }

    private func change(_ body: () throws(Errno) -> Void) {
        turn.withLock { _ in
            do throws(Errno) {
                try body()
            } catch {
                SystemLog.error("\(path) cannot be changed: \(error)")
            }
        }
    }
}
