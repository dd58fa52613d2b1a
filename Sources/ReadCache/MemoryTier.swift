import Glibc
import Policy
import Synchronization
import Syscalls

/// The deduplicated cache in memory: blocks of 4 KiB, each content once however many files have it.
///
/// A read pins frames through the block map and takes no lock but a shard's. A fill hashes outside
/// of all locks, finds or makes the content, and enters the block in the map last. Locks are never
/// nested but for the eviction lock, under which a map shard's may be taken.
package final class MemoryTier: @unchecked Sendable {
    let contents: ContentTable
    let map: BlockMap
    let index: FingerprintIndex
    let stripes: WriteStripes
    let fileStripes: WriteStripes
    let key: FingerprintKey
    let geometry: TierGeometry
    private let arena: Arena
    private let frames: SharedMemory
    private let ownedDescriptor: Int32?
    private let evictionLock: LockArray
    private let pool: UnsafeMutablePointer<FramePool>
    private let nextFile = Atomic<UInt32>(1)
    let merged = Atomic<UInt64>(0)

    /// 4,096 zero bytes.
    let zeroPage: UnsafeRawPointer
    /// The first frame.
    let frameMemory: UnsafeMutableRawPointer

    /// `budget`: bytes of frames and bookkeeping together, at least 1 MiB. `framesDescriptor`: a
    /// memfd of at least `budget` bytes, which stays the caller's; nil makes one. `key`: 64 secret
    /// bytes for the fingerprints. `generations`: lets tests see ids used again soon.
    /// Throws EINVAL for unusable arguments, ENOMEM.
    package init(
        budget: Int, framesDescriptor: Int32?, key bytes: [UInt8], generations: UInt32 = 1 << 12
    ) throws(Errno) {
        key = try FingerprintKey(bytes)
        guard let geometry = TierGeometry(budget: budget, generations: generations) else {
            throw Errno.invalid
        }
        self.geometry = geometry
        let owned =
            framesDescriptor == nil
            ? try SharedMemory.create(name: "forebay-frames", size: budget) : nil
        ownedDescriptor = owned
        let frames: SharedMemory
        var arena: Arena
        do throws(Errno) {
            frames = try SharedMemory(
                descriptor: framesDescriptor ?? owned ?? -1, populated: false)
            guard frames.size >= geometry.frames * 4096 else { throw Errno.invalid }
            arena = try Arena(size: geometry.fixedBytes)
        } catch {
            if let owned { close(owned) }
            throw error
        }
        self.frames = frames
        frameMemory = frames.base

        zeroPage = UnsafeRawPointer(arena.take(UInt8.self, 4096))
        contents = ContentTable(&arena, count: geometry.contents)
        index = FingerprintIndex(&arena, contents: contents, geometry: geometry)
        stripes = WriteStripes(&arena, count: geometry.stripes)
        fileStripes = WriteStripes(&arena, count: geometry.stripes)
        let secret = key.fingerprint(zeroPage).low
        map = BlockMap(
            &arena, contents: contents, shards: geometry.shards, secret: secret,
            tableLimit: budget / Limits.blockMapDivisor)
        evictionLock = LockArray(&arena, MemoryTier.globalLocks)
        let places = arena.take(UInt32.self, geometry.ghosts)
        pool = .allocate(capacity: 1)
        pool.initialize(
            to: FramePool(
                contents, memory: frameMemory, frames: geometry.frames,
                ring: GhostRing(places, capacity: geometry.ghosts)))
        self.arena = arena
        // What the descriptor has beyond the frames would be resident without use.
        let used = geometry.frames * 4096
        if frames.size > used { madvise(frameMemory + used, frames.size - used, MADV_REMOVE) }
    }

    deinit {
        map.destroy()
        index.destroy()
        evictionLock.destroy()
        pool.deallocate()
        arena.unmap()
        if let ownedDescriptor { close(ownedDescriptor) }
    }

    /// Lock 0: eviction. Lock 1: dropping files.
    static let globalLocks = 2

    /// A new empty block map.
    package func newFile() -> CacheID {
        let raw = nextFile.load(ordering: .relaxed)
        guard raw < CacheID.limit else { return .none }
        let taken = nextFile.wrappingAdd(1, ordering: .relaxed).oldValue
        return taken < CacheID.limit ? CacheID(rawValue: taken) : .none
    }

    /// Nothing will be looked up or filled under this id any more; what it takes in the map goes
    /// by and by. Fills that began before are refused.
    package func dropFile(_ file: CacheID) {
        let stripe = fileStripes.stripe(file, group: 0)
        fileStripes.begin(stripe)
        fileStripes.end(stripe)
        evictionLock.lock(1)
        map.drop(file)
        evictionLock.unlock(1)
    }

    // MARK: - Reading

    /// Pins the leading blocks that are cached and appends them to the lease; answers how many.
    /// `zeros` grows by how many of them are all zero.
    package func lookup(
        _ file: CacheID, firstBlock: UInt64, count: Int, into lease: inout ReadLease,
        zeros: inout Int
    ) -> Int {
        guard BlockMap.holds(file, firstBlock), lease.attach(self) else { return 0 }
        let last = BlockKey.blockLimit - firstBlock
        let wanted = min(count, lease.room, Int(truncatingIfNeeded: last))
        return map.pin(file, firstBlock, wanted, &lease, &zeros)
    }

    /// Whether a lookup would find the block. Does not count as a use of it.
    package func contains(_ file: CacheID, block: UInt64) -> Bool {
        BlockMap.holds(file, block) && map.contains(file, block)
    }

    // MARK: - Frames

    /// Runs `body` on the pool, under the eviction lock.
    func withPool<Result>(_ body: (inout FramePool) -> Result) -> Result {
        evictionLock.lock(0)
        defer { evictionLock.unlock(0) }
        return body(&pool.pointee)
    }

    /// Gives the frames back that no reader holds, as when all that is cached is to be forgotten.
    /// Contents that a file which was not dropped keeps may stay.
    package func evictAll() {
        evictionLock.lock(1)
        map.sweep()
        evictionLock.unlock(1)
        for _ in 0..<geometry.frames {
            guard let id = takeFrame(evicting: true) else { return }
            withPool { $0.putBack(id) }
        }
    }

    /// An id of the caller's own with a frame, a free one first unless `evicting`; nil when readers
    /// hold everything.
    func takeFrame(evicting: Bool = false) -> UInt32? {
        let grant = withPool { pool -> FramePool.Grant? in
            let before = pool.evictions
            let grant = evicting ? pool.evict() : pool.take()
            if pool.evictions != before { purgeInTurn(pool.evictions) }
            return grant
        }
        guard let grant else { return nil }
        if grant.mustRemove { index.remove(grant.id) }
        guard let frame = grant.frame else {
            withPool { $0.putBackBare(grant.id) }
            return nil
        }
        contents.frames[Int(grant.id)] = frame
        return grant.id
    }

    /// Visits all map shards before any id can have gone through half of the generations: an id
    /// becomes free only by passing the ring of ghosts, so at most once for as many evictions as
    /// the ring has places. Under the eviction lock, so that no eviction gets ahead of it.
    private func purgeInTurn(_ evictions: UInt64) {
        let interval = geometry.purgeInterval
        if evictions % interval == 0 {
            map.purge(shard: Int(evictions / interval % UInt64(geometry.shards)))
        }
    }

    /// Fits the number of frames to what the bookkeeping leaves of the budget.
    func settle() {
        while true {
            let target = geometry.frames(withMap: map.bytes)
            let allowed = withPool { $0.allowed }
            if allowed > target {
                guard let id = takeFrame() else { return }
                withPool { $0.withhold(id) }
            } else if allowed + 64 < target {
                guard withPool({ $0.allowOne() }) else { return }
            } else {
                return
            }
        }
    }
}
