import Glibc

/// Mutexes in place (pthread_mutex_init(3)), one per cache line. Locked and unlocked by hand: the
/// critical sections are loops over plain memory that a closure would not make safer.
package struct LockArray: BitwiseCopyable, @unchecked Sendable {
    private let base: UnsafeMutableRawPointer
    /// How many.
    package let count: Int

    private static let stride = 64

    /// The memory that so many take.
    package static func bytes(_ count: Int) -> Int { count * stride }

    /// Makes `count` locks.
    package init(_ arena: inout Arena, _ count: Int) {
        base = UnsafeMutableRawPointer(arena.take(UInt8.self, LockArray.bytes(count)))
        self.count = count
        for index in 0..<count { pthread_mutex_init(self[index], nil) }
    }

    private subscript(_ index: Int) -> UnsafeMutablePointer<pthread_mutex_t> {
        (base + index &* LockArray.stride).assumingMemoryBound(to: pthread_mutex_t.self)
    }

    /// Takes one of them.
    @inline(__always)
    package func lock(_ index: Int) { pthread_mutex_lock(self[index]) }

    /// Gives it back.
    @inline(__always)
    package func unlock(_ index: Int) { pthread_mutex_unlock(self[index]) }

    /// Ends their use.
    package func destroy() {
        for index in 0..<count { pthread_mutex_destroy(self[index]) }
    }
}
