import Synchronization

/// What is counted of each file and of the whole datastore.
package enum Counter: Int, CaseIterable, Sendable {
    case reads, readBytes, writes, writeBytes
    case hitsRAM, hitsZero, misses, bypassed
    case backendReads, backendReadBytes, backendWrites, backendWriteBytes
    case savedReads, savedBytes
    case hitsFlash
    /// Blocks answered from the journal; writes that merged there with others before they reached
    /// the datastore, and their bytes.
    case hitsDirty, savedWrites, savedWriteBytes
}

/// A row of counters, each changed atomically; a file has one, and the datastore has one that
/// lies in memory which outlives the server.
package final class Counters: @unchecked Sendable {
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let isOwner: Bool

    /// Counters of their own, all zero.
    package init() {
        words = .allocate(capacity: Counter.allCases.count)
        for index in 0..<Counter.allCases.count {
            (words + index).initialize(to: Atomic(0))
        }
        isOwner = true
    }

    /// Counters in shared memory: at least `Counter.allCases.count` words, which stay as they are.
    package init(shared: UnsafeMutablePointer<UInt64>) {
        words = UnsafeMutableRawPointer(shared).assumingMemoryBound(to: Atomic<UInt64>.self)
        isOwner = false
    }

    deinit {
        if isOwner { words.deallocate() }
    }

    /// Adds to a counter.
    @inline(__always)
    package func add(_ counter: Counter, _ amount: UInt64) {
        words[counter.rawValue].wrappingAdd(amount, ordering: .relaxed)
    }

    /// The counter's value.
    package subscript(counter: Counter) -> UInt64 {
        words[counter.rawValue].load(ordering: .relaxed)
    }
}
