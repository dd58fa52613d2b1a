import CLinux
import Glibc
import Policy
import Syscalls

/// Reads the data of files of a mount past the kernel's page cache (O_DIRECT), so that every read
/// reaches the server and pushes nothing out of this machine's memory. Skips holes, and keeps to a
/// rate.
struct WarmReader: ~Copyable {
    /// Bytes per second; nil: as fast as it goes.
    private let rate: UInt64?
    /// Bytes of one read.
    private let stretch: Int
    private let buffer: UnsafeMutableRawPointer
    /// When the next read may begin, in nanoseconds.
    private var turn = monotonicNanoseconds()
    /// Bytes read.
    private(set) var bytes: UInt64 = 0
    /// Bytes of holes, which were not read.
    private(set) var holes: UInt64 = 0

    /// The largest read that the kernel hands on in one piece.
    private static let longest = 1 << 20
    private static let alignment = 4096

    init(rate: UInt64?) {
        self.rate = rate
        // A quarter of a second's worth at most, in whole blocks.
        let share = Int(clamping: (rate ?? .max) / 4) / Self.alignment * Self.alignment
        stretch = min(max(share, Self.alignment), Self.longest)
        buffer = .allocate(byteCount: Self.longest, alignment: Self.alignment)
    }

    deinit { buffer.deallocate() }

    /// Reads one file of `size` bytes. `progress` is told how far it got, in bytes.
    mutating func read(
        _ file: Int32, size: UInt64, progress: (UInt64) -> Void
    ) throws(Errno) {
        let flags = try call { fcntl(file, F_GETFL) }
        try call { fcntl(file, F_SETFL, flags | CLinux_O_DIRECT) }
        var offset: UInt64 = 0
        while offset < size {
            let data = try SparseFile.dataStart(file, from: offset, size: size)
            // Reads begin where blocks do.
            let start = max(offset, data / UInt64(Self.alignment) * UInt64(Self.alignment))
            holes += start - offset
            offset = start
            if offset < size {
                awaitTurn()
                let (to, count, from) = (buffer, stretch, Int64(offset))
                let got = try call { CLinux_pread(file, to, count, from) }
                if got == 0 { break }
                bytes += UInt64(got)
                offset += UInt64(got)
                takeTurn(of: UInt64(got))
            }
            progress(min(offset, size))
        }
    }

    private func awaitTurn() {
        let now = monotonicNanoseconds()
        if turn > now { sleep(milliseconds: (turn - now) / .milliseconds(1)) }
    }

    /// What was late is not made up for: the rate holds for every moment.
    private mutating func takeTurn(of bytes: UInt64) {
        guard let rate else { return }
        let time = Double(bytes) / Double(rate) * 1e9
        turn = max(turn, monotonicNanoseconds()) + UInt64(time)
    }
}
