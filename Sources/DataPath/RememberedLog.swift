import Glibc
import Policy
import Synchronization
import Syscalls

/// The log that a datastore's latest writes may be in.
package struct LogMark: Equatable, Sendable {
    /// 16 bytes of the log's header; empty when the mark is damaged.
    package let uuid: [UInt8]
    /// Where the log was.
    package let path: String
    /// It may hold writes that are not on the datastore.
    package let mayBeDirty: Bool
    /// Seconds since 1970 when it was written.
    package let time: Int

    package init(uuid: [UInt8], path: String, mayBeDirty: Bool, time: Int) {
        self.uuid = uuid
        self.path = path
        self.mayBeDirty = mayBeDirty
        self.time = time
    }

    /// The log as it is called in sentences.
    package var log: String {
        uuid.isEmpty ? "the log" : "the log \(Self.hexadecimal(uuid)) (last at '\(path)')"
    }

    /// What goes with it, as the beginning of a sentence.
    package var loss: String {
        "what \(log) had acknowledged since \(Self.text(time)) and was not yet on the datastore is"
    }

    static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func text(_ time: Int) -> String {
        var seconds = time_t(time)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        var text = [CChar](repeating: 0, count: 64)
        let count = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// What a mount remembers of its log, in the file `log` of the state folder. Reads without that log
/// would be old, so the mark is durable before the first write is acknowledged from the log, and
/// goes when all data is on the datastore and the mount ends.
package final class RememberedLog: Sendable {
    private let path: String
    private let turn = Mutex(())

    /// `folder`: the state folder.
    package init(folder: String) { path = folder + "/log" }

    /// The mark; nil when there is none. A mark that cannot be understood stands for a log that
    /// nobody knows and that may be dirty. Throws what the disk says, with which nobody knows
    /// either.
    package func mark() throws(Errno) -> LogMark? {
        let file: Descriptor
        do throws(Errno) {
            file = try Descriptor(path: path, flags: O_RDONLY)
        } catch {
            if error == .noEntry { return nil }
            throw error
        }
        let raw = file.raw
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = try call { read(raw, &bytes, 8192) }
        return Self.parse(String(decoding: bytes[..<count], as: UTF8.self))
            ?? LogMark(uuid: [], path: "", mayBeDirty: true, time: 0)
    }

    /// `1 UUID dirty|clean TIME PATH` and a line feed; the first number is the version.
    private static func parse(_ text: String) -> LogMark? {
        guard text.hasSuffix("\n") else { return nil }
        let words = text.dropLast().split(
            separator: " ", maxSplits: 4, omittingEmptySubsequences: false)
        guard words.count == 5, words[0] == "1", let uuid = bytes(words[1]), uuid.count == 16,
            let time = Int(words[3]), ["dirty", "clean"].contains(words[2])
        else { return nil }
        return LogMark(
            uuid: uuid, path: String(words[4]), mayBeDirty: words[2] == "dirty", time: time)
    }

    private static func bytes(_ text: Substring) -> [UInt8]? {
        guard text.utf8.count == 32 else { return nil }
        var bytes: [UInt8] = []
        var rest = text
        while !rest.isEmpty {
            guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    /// Leaves a mark; durable when this returns. Throws what the disk says: then nothing may be
    /// acknowledged from the log.
    package func set(uuid: [UInt8], path device: String, mayBeDirty: Bool) throws(Errno) {
        let words = [
            "1", LogMark.hexadecimal(uuid), mayBeDirty ? "dirty" : "clean", "\(time(nil))", device,
        ]
        let text = words.joined(separator: " ") + "\n"
        guard uuid.count == 16, !device.utf8.contains(10) else { throw .invalid }
        try turn.withLock { (_) throws(Errno) in
            try DurableFile.replace(path, by: path + ".new", Array(text.utf8), mode: 0o600)
        }
    }

    /// Removes the mark; durable when this returns. True when there was one.
    @discardableResult
    package func forget() throws(Errno) -> Bool {
        try turn.withLock { (_) throws(Errno) in try DurableFile.remove(path) }
    }
}

// Logs that must never be read again: what they hold is older than the datastore.
extension RememberedLog {
    private var discardedPath: String { path + ".discarded" }

    /// Gives a log up for good, and the mark with it; durable when this returns.
    package func discard(_ uuid: [UInt8]) throws(Errno) {
        let line = LogMark.hexadecimal(uuid) + "\n"
        try turn.withLock { (_) throws(Errno) in
            let known = discardedText()
            guard !known.contains(line) else { return }
            try DurableFile.replace(
                discardedPath, by: discardedPath + ".new", Array((known + line).utf8),
                mode: 0o600)
        }
        try forget()
    }

    /// True for a log that was given up. Formatting it makes another one of it.
    package func isDiscarded(_ uuid: [UInt8]) -> Bool {
        turn.withLock { _ in discardedText().contains(LogMark.hexadecimal(uuid)) }
    }

    private func discardedText() -> String {
        guard let file = try? Descriptor(path: discardedPath, flags: O_RDONLY) else { return "" }
        let raw = file.raw
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = (try? call { read(raw, &bytes, 1 << 16) }) ?? 0
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}

extension RememberedLog {
    /// What a mark means for a mount that has found a log, or none.
    package enum Verdict: Equatable, Sendable {
        /// Nothing is missed.
        case fine
        /// The mount is refused: writes would be missed.
        case missing(LogMark)
        /// The mount may be read, and recent writes may be missed.
        case stale(LogMark)
        /// The administrator gave the missed writes up (`discard_log`). The mark is to be
        /// forgotten and `LogEvents.discarded` to be told, once the datastore is open.
        case discarded(LogMark)
    }

    /// Judges for a mount whose log has the UUID `found`; nil when there is no log that can be
    /// used. `isFirst`: no server of this mount served before: only then data is given up, a
    /// device that fails later never makes a successor do so. Throws what the state disk says.
    package func verdict(
        found: [UInt8]?, options: MountOptions, isFirst: Bool
    ) throws(Errno) -> Verdict {
        guard let mark = try mark(), mark.mayBeDirty, found == nil || mark.uuid != found else {
            return .fine
        }
        if options.discardLog, isFirst, !options.readOnly { return .discarded(mark) }
        return options.readOnly ? .stale(mark) : .missing(mark)
    }
}
