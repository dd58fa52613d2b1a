import CFuse
import CLinux
import Glibc
import Syscalls
import TestSupport

/// What a device with a volatile cache would lose when its power fails: every write since the last
/// fsync(2) of its file. Off until it is asked for, because it makes writes wait for one another.
/// Sizes are not kept: it is meant for files that stand for devices.
final class UnflushedWrites: Sendable {
    private struct Write {
        var offset: Int64
        var before: [UInt8]
        var after: [UInt8]
    }

    private struct File {
        let file: OpenFile
        var writes: [Write] = []
    }

    private struct State {
        var isOn = false
        /// By inode number.
        var files: [UInt64: File] = [:]
    }

    /// What a disk writes at once.
    private static let sector = 512

    private let state = Condition(State())

    /// Begins to remember writes, or forgets them.
    func turn(on isOn: Bool) {
        state.withLock { state in
            state.isOn = isOn
            state.files = [:]
        }
    }

    /// Writes with `body`, and remembers what was there before unless the write is stable.
    func write(
        _ file: Int32, _ bytes: UnsafeRawBufferPointer, _ offset: Int64, isStable: Bool,
        _ body: () throws(Errno) -> Int
    ) throws(Errno) -> Int {
        guard !isStable, state.withLock({ $0.isOn }) else { return try body() }
        let inode = UInt64(try FileSystem.attributes(of: file).st_ino)
        let own = try OpenFile(FileSystem.path(of: file), O_RDWR)
        var failure: Errno?
        let count = state.withLock { state -> Int in
            do throws(Errno) {
                var before = [UInt8](repeating: 0, count: bytes.count)
                let raw = own.raw
                _ = try call { CLinux_pread(raw, &before, before.count, offset) }
                let count = try body()
                state.files[inode, default: File(file: own)].writes.append(
                    Write(offset: offset, before: before, after: Array(bytes)))
                return count
            } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw failure }
        return count
    }

    /// The file is durable.
    func flushed(_ file: Int32) throws(Errno) {
        guard state.withLock({ $0.isOn }) else { return }
        let inode = UInt64(try FileSystem.attributes(of: file).st_ino)
        state.withLock { $0.files[inode] = nil }
    }

    /// The power fails: of each write that was not flushed all, some or no sectors stay, as the
    /// seed has it. Answers how many sectors were lost.
    func cut(seed: UInt64) throws(Errno) -> Int {
        var random = SplitMix64(seed: seed)
        let files = state.withLock { state in
            defer { state.files = [:] }
            return state.files
        }
        var lost = 0
        for (_, file) in files.sorted(by: { $0.key < $1.key }) {
            let raw = file.file.raw
            for write in file.writes.reversed() {
                try call { CLinux_pwrite(raw, write.before, write.before.count, write.offset, 0) }
            }
            for write in file.writes { lost += try keep(write, raw, &random) }
        }
        return lost
    }

    private func keep(
        _ write: Write, _ file: Int32, _ random: inout SplitMix64
    ) throws(Errno) -> Int {
        // All of it, nothing of it, or what chance has it.
        let kind = random.next() % 3
        var lost = 0
        for start in stride(from: 0, to: write.after.count, by: Self.sector) {
            let isKept = kind == 0 || kind == 1 && random.next() % 2 == 0
            guard isKept else {
                lost += 1
                continue
            }
            let part = Array(write.after[start..<min(start + Self.sector, write.after.count)])
            try call { CLinux_pwrite(file, part, part.count, write.offset + Int64(start), 0) }
        }
        return lost
    }
}
