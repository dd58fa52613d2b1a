import Synchronization

/// How many blocks of each file are stored.
final class FileCounts: Sendable {
    private let counts = Mutex<[UInt32: Int]>([:])

    /// Of all files.
    var sum: Int { counts.withLock { $0.values.reduce(0, +) } }

    subscript(_ file: UInt32) -> Int { counts.withLock { $0[file] ?? 0 } }

    func add(_ count: Int, to file: UInt32) {
        if count == 0 { return }
        counts.withLock { counts in
            let sum = (counts[file] ?? 0) + count
            counts[file] = sum == 0 ? nil : sum
        }
    }
}
