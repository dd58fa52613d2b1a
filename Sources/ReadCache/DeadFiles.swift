import Synchronization

/// Block maps that were dropped while their entries still take room. A small set that is read
/// without a lock; the entries go when their shard is next rebuilt.
struct DeadFiles: BitwiseCopyable, @unchecked Sendable {
    private let slots: UnsafeMutablePointer<Atomic<UInt32>>
    private let counter: UnsafeMutablePointer<Atomic<Int>>

    private static let count = 256
    /// Files after which all shards are swept, so that the set can be emptied.
    static let limit = 128

    static var bytes: Int {
        Arena.bytes(Atomic<UInt32>.self, count) + Arena.bytes(Atomic<Int>.self, 1)
    }

    init(_ arena: inout Arena) {
        slots = arena.take(Atomic<UInt32>.self, DeadFiles.count)
        counter = arena.take(Atomic<Int>.self, 1)
    }

    var isEmpty: Bool { counter.pointee.load(ordering: .acquiring) == 0 }
    var isFull: Bool { counter.pointee.load(ordering: .acquiring) >= DeadFiles.limit }

    private static func home(_ file: CacheID) -> Int {
        Int(truncatingIfNeeded: spread(UInt64(file.rawValue)) % UInt64(count))
    }

    func contains(_ file: CacheID) -> Bool {
        var slot = DeadFiles.home(file)
        while true {
            let found = slots[slot].load(ordering: .acquiring)
            if found == file.rawValue { return true }
            if found == 0 { return false }
            slot = (slot + 1) % DeadFiles.count
        }
    }

    /// One caller at a time.
    func add(_ file: CacheID) {
        guard !isFull, !contains(file) else { return }
        var slot = DeadFiles.home(file)
        while slots[slot].load(ordering: .acquiring) != 0 { slot = (slot + 1) % DeadFiles.count }
        slots[slot].store(file.rawValue, ordering: .releasing)
        counter.pointee.wrappingAdd(1, ordering: .releasing)
    }

    /// One caller at a time.
    func removeAll() {
        for slot in 0..<DeadFiles.count { slots[slot].store(0, ordering: .releasing) }
        counter.pointee.store(0, ordering: .releasing)
    }
}
