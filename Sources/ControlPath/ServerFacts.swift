import Glibc
import Policy
import Syscalls

/// What the control path tells of the server itself. The counters are words of the shared memory
/// that a successor maps too, so they run on over a takeover.
package struct ServerFacts: @unchecked Sendable {
    /// Word of the counters: servers replaced since the mount.
    package static let restartsWord = 128
    /// Word of the counters: monotonic time of the mount in nanoseconds.
    package static let startWord = 129
    /// Word of the counters: nanoseconds from the end of the last server to its successor's first
    /// answer.
    package static let lastPauseWord = 130

    private let live: LiveOptions
    private let mode: @Sendable () -> BypassMode
    private let counters: UnsafeMutablePointer<UInt64>?
    private let startedHere = monotonicNanoseconds()
    private let parent = getppid()
    private let requests: @Sendable () -> [(name: String, count: UInt64)]
    private let slots: @Sendable () -> UInt64

    /// `counters` are the shared words and stay mapped as long as the process lives; nil where
    /// there are none (tests). `fuseRequests` answers how many requests of each kind came from
    /// the kernel since the mount, `bypass` whether the cache is left out of the way,
    /// `slotsBytes` what memory the request slots have.
    package init(
        options: LiveOptions, counters: UnsafeMutablePointer<UInt64>?,
        fuseRequests: @escaping @Sendable () -> [(name: String, count: UInt64)] = { [] },
        bypass: @escaping @Sendable () -> BypassMode = { .off },
        slotsBytes: @escaping @Sendable () -> UInt64 = { 0 }
    ) {
        live = options
        mode = bypass
        self.counters = counters
        requests = fuseRequests
        slots = slotsBytes
    }

    /// The options as they are now.
    package var options: MountOptions { live.value }

    /// Whether the cache is left out of the way.
    package var bypass: BypassMode { mode() }

    /// The process number of the keeper, the server's parent; 0 when it has died and left the
    /// server alone.
    package var keeper: pid_t { getppid() == parent ? parent : 0 }

    /// Servers replaced since the mount.
    package var restarts: UInt64 { counters?[Self.restartsWord] ?? 0 }

    /// Whole seconds since the mount.
    package var uptime: UInt64 {
        let shared = counters?[Self.startWord] ?? 0
        let start = shared == 0 ? startedHere : shared
        let now = monotonicNanoseconds()
        return now > start ? (now - start) / .seconds(1) : 0
    }

    /// Nanoseconds of the last takeover's pause, 0 when there was none.
    package var lastPause: UInt64 { counters?[Self.lastPauseWord] ?? 0 }

    /// Bytes of memory that the request slots have.
    package var slotsBytes: UInt64 { slots() }

    /// Requests of the kernel since the mount, by kind.
    package var fuseRequests: [(name: String, count: UInt64)] { requests() }
}
