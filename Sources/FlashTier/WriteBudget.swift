/// How much may be written to the device: so many times its size a day, averaged over an hour.
struct WriteBudget {
    private let size: Double
    /// Bytes a second; 0 is without limit.
    private let rate: Double
    private var bytes: Double
    private var last: UInt64
    private var spent: UInt64 = 0
    /// Bytes written in each of the last minutes, by the number of the minute.
    private var minutes: [(minute: UInt64, bytes: UInt64)] = Array(repeating: (0, 0), count: 60)
    private let start: UInt64

    private static let second = 1_000_000_000.0

    /// `now`: monotonic nanoseconds.
    init(size: UInt64, writesPerDay: Double, now: UInt64) {
        self.size = Double(size)
        rate = Double(size) * writesPerDay / 86400
        bytes = rate * 3600
        last = now
        start = now
    }

    /// Whether something may be written now.
    mutating func allows(now: UInt64) -> Bool {
        refill(now)
        return rate == 0 || bytes > 0
    }

    /// Bytes that may be written now; nil without limit.
    mutating func left(now: UInt64) -> UInt64? {
        refill(now)
        return rate == 0 ? nil : UInt64(max(bytes, 0))
    }

    private mutating func refill(_ now: UInt64) {
        guard now > last else { return }
        bytes = min(bytes + Double(now - last) / Self.second * rate, rate * 3600)
        last = now
    }

    /// So many bytes were written altogether.
    mutating func note(total: UInt64, isFree: Bool, now: UInt64) {
        guard total > spent else { return }
        let count = total - spent
        spent = total
        refill(now)
        if !isFree { bytes -= Double(count) }
        let minute = now / 60_000_000_000
        let place = Int(minute % 60)
        if minutes[place].minute != minute { minutes[place] = (minute, 0) }
        minutes[place].bytes += count
    }

    /// What the last hour, or what there was of it, would be in times of the size a day.
    func writesPerDay(now: UInt64) -> Double {
        let minute = now / 60_000_000_000
        let recent = minutes.reduce(UInt64(0)) { $0 + ($1.minute + 60 > minute ? $1.bytes : 0) }
        let time = min(max(Double(now &- start) / Self.second, 60), 3600)
        return Double(recent) / size * 86400 / time
    }
}
