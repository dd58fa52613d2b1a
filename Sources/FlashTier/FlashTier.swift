import Glibc
import Policy
import ReadCache
import Synchronization
import Syscalls

/// The persistent, deduplicated cache on a device: contents in slots, each once however many files
/// have it, and a map of which block has which (docs/on-disk-format.md).
///
/// Locks, outermost first: filling, log, map shard; the index's and the open region's are
/// innermost.
/// Device input and output happens under the lock of the filling only, which readers do not take.
package final class FlashTier<Device: FlashDevice>: @unchecked Sendable {
    /// What the tier does at the moment.
    package enum Phase: UInt8, Sendable {
        /// It reads the index: nothing is found, nothing is stored.
        case loading
        /// It serves and is about to store where it is, before it takes anything new.
        case settling
        case on
        /// The device is not used: it failed, or it was closed.
        case off
    }

    let device: Device
    /// Where everything is on the device.
    package let geometry: FlashGeometry
    let key: FingerprintKey
    let pageKey: PageKey
    let slots: SlotTable
    let index: ContentIndex
    let map: FlashMap
    let versions: WriteVersions
    let files: FileTable
    let log: MapLog<Device>
    let counters = FlashCounters()
    let header: Mutex<FlashHeader>
    let filling: Mutex<Filling>
    /// The open region, for readers.
    let openRegion: Mutex<OpenRegion>
    private let arena: Arena
    private let arenaBytes: Int
    private let phaseWord: Atomic<UInt8>
    private let checkpointIsDue = Atomic<Bool>(false)
    /// Held by who makes a checkpoint.
    let checkpointing = Mutex(())
    /// Whether the map on the device is what was there when the mount last ran.
    let believesMaps: Bool
    /// Whether the mount before this one ended without closing.
    package let wasInUse: Bool
    /// Makes durable which maps of the device are to be believed.
    let remember: @Sendable (UInt64?) -> Void
    private let givingUp = Mutex(())
    /// Whether a device that is off has been forgotten for good.
    private let isForgotten = Atomic<Bool>(true)
    let isClosed = Atomic<Bool>(false)
    let health = FlashHealth()

    /// Contents of the open region that are not on the device yet.
    struct OpenRegion {
        var region = -1
        let buffer: BlockBuffer
        var isHere: [Bool]
    }

    /// How the tier is used.
    package struct Settings: Sendable {
        /// Names mount and datastore; a device of another owner is refused.
        package var owner: String
        /// What the mount remembers of this device; nil when it remembers nothing.
        package var lastInstance: UInt64?
        /// Drive writes per day; 0 is without limit.
        package var writesPerDay: Double
        /// Makes durable that the mount remembers this instance of the device's maps; nil: that
        /// they are not to be believed, whatever is on the device. Called when the device was
        /// given up, before any write goes on without it, and when it is taken back. For the
        /// instance after the opening the mount itself sees to it.
        package var remember: @Sendable (UInt64?) -> Void

        /// `writesPerDay`: 0 is without limit.
        package init(
            owner: String, lastInstance: UInt64?, writesPerDay: Double = 3,
            remember: @escaping @Sendable (UInt64?) -> Void
        ) {
            self.owner = owner
            self.lastInstance = lastInstance
            self.writesPerDay = writesPerDay
            self.remember = remember
        }
    }

    /// Opens a formatted device and claims it; `load` reads the index afterwards. Throws EINVAL
    /// when it is not formatted, EBUSY when it belongs to another owner, ENOSPC when it is smaller
    /// than it was, ENOMEM, and what the device says.
    package init(_ device: Device, _ settings: Settings) throws(Errno) {
        var header = try FlashHeader.read(from: device)
        guard device.size / 4096 >= header.blocks else { throw .noSpace }
        guard
            let geometry = FlashGeometry(
                size: header.blocks * 4096, regionBlocks: Int(header.regionBlocks))
        else { throw .invalid }
        guard header.owner.isEmpty || header.owner == settings.owner else { throw .busy }
        believesMaps = header.owner == settings.owner && header.instance == settings.lastInstance
        wasInUse = header.isInUse
        header.owner = settings.owner
        header.isInUse = true
        if !believesMaps {
            // Nothing in the log has this epoch.
            header.epoch = .random(in: 1...UInt64.max)
            header.instance = .random(in: 1...UInt64.max)
        }
        try header.write(to: device)

        self.device = device
        self.geometry = geometry
        let pageKey = try PageKey(header)
        self.pageKey = pageKey
        key = pageKey.secret
        let count = geometry.slotCount
        arenaBytes =
            SlotTable.bytes(count) + ContentIndex.bytes(slots: count) + FlashMap.bytes(slots: count)
            + WriteVersions.bytes + GhostFilter.bytes(slots: count)
        var arena = try Arena(size: arenaBytes)
        slots = SlotTable(&arena, count: count)
        index = ContentIndex(&arena, slots: count)
        map = FlashMap(&arena, slots: count, limit: max(count, 1024) * Limits.flashMapBytes)
        versions = WriteVersions(&arena)
        let ghosts = GhostFilter(&arena, slots: count)
        self.arena = arena
        files = FileTable(limit: Limits.flashFiles)
        log = MapLog(
            device, key: pageKey,
            current: LogStream(
                .early, epoch: header.epoch, offset: geometry.earlyOffset,
                capacity: geometry.earlyBlocks,
                pages: try Self.earlyPages(device, header, geometry, pageKey)),
            slots: count)
        let budget = WriteBudget(
            size: header.blocks * 4096, writesPerDay: settings.writesPerDay,
            now: monotonicNanoseconds())
        filling = Mutex(
            Filling(slotsPerRegion: geometry.slotsPerRegion, budget: budget, ghosts: ghosts))
        openRegion = Mutex(
            OpenRegion(
                buffer: BlockBuffer(blocks: geometry.regionBlocks),
                isHere: Array(repeating: false, count: geometry.slotsPerRegion)))
        remember = settings.remember
        self.header = Mutex(header)
        phaseWord = Atomic(Phase.loading.rawValue)
    }

    deinit {
        map.destroy()
        index.destroy()
        arena.unmap()
    }

    private static func earlyPages(
        _ device: Device, _ header: FlashHeader, _ geometry: FlashGeometry, _ key: PageKey
    ) throws(Errno) -> Int {
        try LogStream.replay(
            .early, epoch: header.epoch, offset: geometry.earlyOffset,
            capacity: geometry.earlyBlocks, from: device, key: key
        ) { _ in }
    }

    /// What it does at the moment.
    package var phase: Phase { Phase(rawValue: phaseWord.load(ordering: .acquiring)) ?? .off }

    func setPhase(_ phase: Phase) { phaseWord.store(phase.rawValue, ordering: .releasing) }

    /// The next upkeep makes a checkpoint.
    func needCheckpoint() { checkpointIsDue.store(true, ordering: .relaxed) }

    /// Whether a checkpoint is due; it is not any more.
    func takeCheckpointNeed() -> Bool {
        checkpointIsDue.exchange(false, ordering: .relaxed)
    }

    /// What the mount is to remember of the device, before its first write to the datastore and
    /// again when it has changed.
    package var instance: UInt64 { header.withLock { $0.instance } }

    /// What fingerprints are made with: the RAM tier must use the same.
    package var fingerprintKey: [UInt8] { header.withLock { $0.key } }

    /// What it did and holds.
    package var statistics: FlashStatistics {
        var result = counters.snapshot()
        result.indexBytes = UInt64(arenaBytes + map.bytes)
        result.slots = UInt64(geometry.slotCount)
        result.files = UInt64(files.count)
        return result
    }

    // MARK: - Giving the device up

    /// Returns once no map on a device that is off will be believed.
    func awaitForgotten() {
        if !isForgotten.load(ordering: .sequentiallyConsistent) { givingUp.withLock { _ in } }
    }

    /// The device cannot be relied on: from now on nothing is found and nothing stored. Returns
    /// when it is durable that its maps are not to be believed.
    func giveUp(_ reason: String) {
        givingUp.withLock { _ in
            guard phase != .off else { return }
            isForgotten.store(false, ordering: .sequentiallyConsistent)
            setPhase(.off)
            remember(nil)
            isForgotten.store(true, ordering: .sequentiallyConsistent)
            files.removeAll()
            map.removeAll()
            Events.raise(.cache, .problem, "flash is not used: \(reason)")
        }
    }
}
