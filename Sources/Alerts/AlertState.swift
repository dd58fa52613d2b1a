import ControlPath
import Glibc
import Syscalls

/// What deliveries of one mount know of one another: `/run/forebay/NAME.alerts`, a line for each
/// class of events. Processes take turns by locks on bytes of the file (fcntl(2), F_SETLK): one for
/// its contents, and one for each channel, so that a channel's messages keep their order.
package final class AlertState: Sendable {
    private let file: Descriptor

    /// Opens the file of a mount, and makes it when it is missing.
    package init(_ path: String) throws(Errno) {
        file = try Descriptor(path: path, flags: O_RDWR | O_CREAT, mode: 0o600)
    }

    /// The file's descriptor, open as long as this object.
    package var descriptor: Int32 { file.raw }

    // MARK: - Contents

    /// Reads the limits, lets `body` change them and writes them; no other process does meanwhile.
    package func update<Result>(
        _ body: (inout [EventClass: RateLimit]) -> Result
    ) throws(Errno) -> Result {
        try lock(byte: 0)
        defer { unlock(byte: 0) }
        var limits = try read()
        let result = body(&limits)
        try write(limits)
        return result
    }

    private func read() throws(Errno) -> [EventClass: RateLimit] {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = try call { pread(file.raw, &bytes, bytes.count, 0) }
        let text = String(decoding: bytes[..<count], as: UTF8.self)
        var limits: [EventClass: RateLimit] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ", maxSplits: 1).map { String($0) }
            // A line that is damaged means that the next event is told: better than none.
            guard parts.count == 2, let eventClass = EventClass(rawValue: parts[0]) else {
                continue
            }
            limits[eventClass] = RateLimit(line: parts[1])
        }
        return limits
    }

    private func write(_ limits: [EventClass: RateLimit]) throws(Errno) {
        let lines = EventClass.allCases.compactMap { eventClass in
            limits[eventClass].map { "\(eventClass.rawValue) \($0.line)\n" }
        }
        let bytes = Array(lines.joined().utf8)
        try call { pwrite(file.raw, bytes, bytes.count, 0) }
        try call { ftruncate(file.raw, bytes.count) }
    }

    // MARK: - Locks

    /// Waits until this process is the only one that uses a channel; false when `deadline`
    /// (monotonic, in nanoseconds) passes first.
    package func takeChannel(_ number: Int, until deadline: UInt64) -> Bool {
        while !tryLock(byte: 1 + number) {
            guard monotonicNanoseconds() < deadline else { return false }
            sleep(milliseconds: 50)
        }
        return true
    }

    /// Lets the next process use the channel.
    package func leaveChannel(_ number: Int) { unlock(byte: 1 + number) }

    private func tryLock(byte: Int) -> Bool { setLock(F_SETLK, Int16(F_WRLCK), byte) == 0 }

    private func lock(byte: Int) throws(Errno) {
        try call { setLock(F_SETLKW, Int16(F_WRLCK), byte) }
    }

    private func unlock(byte: Int) { _ = setLock(F_SETLK, Int16(F_UNLCK), byte) }

    private func setLock(_ command: Int32, _ type: Int16, _ byte: Int) -> Int32 {
        var range = flock()
        range.l_type = type
        range.l_whence = Int16(SEEK_SET)
        range.l_start = off_t(byte)
        range.l_len = 1
        return fcntl(file.raw, command, &range)
    }
}
