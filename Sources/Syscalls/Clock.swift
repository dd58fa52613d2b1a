import Glibc

/// Nanoseconds of the monotonic clock (clock_gettime(2), CLOCK_MONOTONIC), the same for all
/// processes of the machine.
package func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}

extension UInt64 {
    /// Nanoseconds in so many seconds.
    package static func seconds(_ count: UInt64) -> UInt64 { count &* 1_000_000_000 }
    /// Nanoseconds in so many milliseconds.
    package static func milliseconds(_ count: UInt64) -> UInt64 { count &* 1_000_000 }
}
