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
    private let memory: SharedMemory
    private let ownedDescriptor: Int32?
    private let evictionLock: LockArray
    private let pool: UnsafeMutablePointer<FramePool>
    private let nextFile: Atomic<UInt32>
    let ready = Atomic<Bool>(true)
    let merged = Atomic<UInt64>(0)
    let damaged = Atomic<UInt64>(0)

    /// Memory that outlives the server, for notes of which file has which block map: all zero when
    /// nothing was taken over.
    package let notes: UnsafeMutableRawBufferPointer
    /// Servers that used the memory so far without a cold start, this one included.
    package let life: UInt64
    /// 4,096 zero bytes.
    let zeroPage: UnsafeRawPointer
    /// The first frame.
    let frameMemory: UnsafeMutableRawPointer

    /// Maps the tier's memory and takes over what an earlier tier of the same budget, key and form
    /// left in it; hits are served at once, new contents after `waitUntilReady`.
    ///
    /// - Parameters:
    ///   - budget: bytes of frames and bookkeeping together, at least 1 MiB.
    ///   - framesDescriptor: a memfd, which is made larger as needed and stays the caller's; nil
    ///     makes one.
    ///   - key: 64 secret bytes for the fingerprints.
    ///   - generations: lets tests see ids used again soon.
    ///   - survivors: answers, from what is in `notes`, which block maps are still somebody's;
    ///     what the others have is forgotten.
    /// - Throws: EINVAL for unusable arguments, ENOMEM.
    package init(
        budget: Int, framesDescriptor: Int32?, key bytes: [UInt8],
        generations: UInt32 = MemoryTier.mostGenerations,
        survivors: (UnsafeMutableRawBufferPointer) -> Set<CacheID> = { _ in [] }
    ) throws(Errno) {
        key = try FingerprintKey(bytes)
        guard let geometry = TierGeometry(budget: budget, generations: generations) else {
            throw Errno.invalid
        }
        self.geometry = geometry
        let layout = TierLayout(geometry)
        let owned =
            framesDescriptor == nil
            ? try SharedMemory.create(name: "forebay-frames", size: layout.size) : nil
        ownedDescriptor = owned
        let memory: SharedMemory
        var arena: Arena
        do throws(Errno) {
            let descriptor = framesDescriptor ?? owned ?? -1
            try SharedMemory.extend(descriptor, to: layout.size)
            memory = try SharedMemory(descriptor: descriptor, populated: false)
            arena = try Arena(size: geometry.privateBytes)
        } catch {
            if let owned { close(owned) }
            throw error
        }
        self.memory = memory
        frameMemory = memory.base
        notes = UnsafeMutableRawBufferPointer(
            start: memory.base + layout.notes, count: layout.notesSize)
        let zeros = UnsafeRawPointer(arena.take(UInt8.self, 4096))
        zeroPage = zeros
        let zeroFingerprint = key.fingerprint(zeros)

        let header = TierHeader(
            memory.base + layout.header, geometry, key: zeroFingerprint.high)
        let isWarm = header.isKnown
        if !isWarm {
            header.invalidate()
            madvise(memory.base, memory.size, MADV_REMOVE)
        }
        header.begin()
        life = header.life
        let survivors = Set(survivors(notes).map(\.rawValue).filter { $0 < CacheID.limit })
        nextFile = Atomic((survivors.max() ?? 0) + 1)

        var shared = Arena(
            base: memory.base + layout.contents, size: layout.tables - layout.contents)
        contents = ContentTable(&arena, shared: &shared, count: geometry.contents)
        index = FingerprintIndex(&arena, contents: contents, geometry: geometry)
        stripes = WriteStripes(&arena, count: geometry.stripes)
        fileStripes = WriteStripes(&arena, count: geometry.stripes)
        map = BlockMap(
            &arena, memory: memory.base, geometry: geometry, contents: contents,
            secret: zeroFingerprint.low, survivors: survivors)
        evictionLock = LockArray(&arena, MemoryTier.globalLocks)
        let places = arena.take(UInt32.self, geometry.ghosts)
        pool = .allocate(capacity: 1)
        pool.initialize(
            to: FramePool(
                contents, memory: frameMemory, frames: geometry.frames,
                ring: GhostRing(places, capacity: geometry.ghosts)))
        self.arena = arena
        if isWarm { try takeOver() }
    }

    /// Bytes of pages that are there: those that a successor gets (frames and what goes with them),
    /// and those of the bookkeeping that is this server's alone.
    package var takenBytes: (shared: Int, own: Int) { (memory.takenBytes, arena.residentBytes) }

    /// Empties the memory of a tier that nobody uses: no later one takes anything over.
    package static func forget(_ descriptor: Int32) throws(Errno) {
        try call { ftruncate(descriptor, 0) }
    }

    private func takeOver() throws(Errno) {
        ready.store(false, ordering: .releasing)
        contents.adopt(geometry)
        try Thread(name: "cache-restore") { self.restore() }.detach()
    }

    deinit {
        map.destroy()
        index.destroy()
        evictionLock.destroy()
        pool.deallocate()
        arena.unmap()
        if let ownedDescriptor { close(ownedDescriptor) }
    }

    /// Generations that an id goes through before it starts again.
    package static let mostGenerations = ContentWord.generations

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
        var unproven: UnprovenContent?
        var found = map.pin(file, firstBlock, wanted, &lease, &zeros, unproven: &unproven)
        while let content = unproven, prove(content) {
            unproven = nil
            found &+= map.pin(
                file, firstBlock &+ UInt64(truncatingIfNeeded: found), wanted &- found, &lease,
                &zeros, unproven: &unproven)
        }
        return found
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
        waitUntilReady()
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
        guard isReady else { return nil }
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
