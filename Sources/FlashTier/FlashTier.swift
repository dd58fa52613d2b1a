import Devices
import Glibc
import Policy
import ReadCache
import Synchronization
import Syscalls

/// The persistent, deduplicated cache on a device: contents in slots, each once however many files
/// have it, and a map of which block has which (docs/on-disk-format.md).
///
/// Locks, outermost first: filling, log, map shard; the index's and the open region's are
/// innermost, and so are those of the budget and of what is kept.
/// Device input and output happens under the lock of the filling only, which readers do not take.
package final class FlashTier<Device: BlockDevice>: @unchecked Sendable {
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
    let budget: Mutex<WriteBudget>
    let kept: Mutex<KeptContents>
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
    let clock: @Sendable () -> UInt64
    private let givingUp = Mutex(())
    /// Whether a device that is off has been forgotten for good.
    private let isForgotten = Atomic<Bool>(true)
    let health = FlashHealth()
    let commits = MarkCommits()
    /// Bytes that were written to the device since it was formatted, before this opening.
    let writtenBefore: UInt64

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
        /// Writes of the device's header that the mount remembers: a device that had less is an
        /// older copy of itself, which does not know of writes since.
        package var lastSequence: UInt64 = 0
        /// Drive writes per day; 0 is without limit.
        package var writesPerDay: Double
        /// Makes durable that the mount remembers this instance of the device's maps; nil: that
        /// they are not to be believed, whatever is on the device. Called when the device was
        /// given up, before any write goes on without it, and when it is taken back. For the
        /// instance after the opening the mount itself sees to it.
        package var remember: @Sendable (UInt64?) -> Void
        /// Monotonic nanoseconds, by which writes are counted and marks grow old.
        package var clock: @Sendable () -> UInt64

        /// `writesPerDay`: 0 is without limit.
        package init(
            owner: String, lastInstance: UInt64?, writesPerDay: Double = 3,
            clock: @escaping @Sendable () -> UInt64 = monotonicNanoseconds,
            remember: @escaping @Sendable (UInt64?) -> Void
        ) {
            self.clock = clock
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
        believesMaps =
            header.owner == settings.owner && header.instance == settings.lastInstance
            && header.sequence >= settings.lastSequence
        wasInUse = header.isInUse
        header.owner = settings.owner
        header.isInUse = true
        writtenBefore = header.written
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
        files = FileTable(limit: min(Limits.flashFiles, geometry.filesInLog))
        log = MapLog(
            device, key: pageKey, counters,
            current: LogStream(
                .early, epoch: header.epoch, offset: geometry.earlyOffset,
                capacity: geometry.earlyBlocks,
                pages: try Self.earlyPages(device, header, geometry, pageKey)),
            slots: count)
        budget = Mutex(
            WriteBudget(
                size: header.blocks * 4096, writesPerDay: settings.writesPerDay,
                now: settings.clock()))
        kept = Mutex(KeptContents(slots: count))
        filling = Mutex(Filling(slotsPerRegion: geometry.slotsPerRegion, ghosts: ghosts))
        openRegion = Mutex(
            OpenRegion(
                buffer: BlockBuffer(blocks: geometry.regionBlocks),
                isHere: Array(repeating: false, count: geometry.slotsPerRegion)))
        remember = settings.remember
        clock = settings.clock
        self.header = Mutex(header)
        phaseWord = Atomic(FlashPhase.loading.rawValue)
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
    package var phase: FlashPhase {
        FlashPhase(rawValue: phaseWord.load(ordering: .acquiring)) ?? .off
    }

    /// Whether blocks are found.
    var isServing: Bool { phase == .on || phase == .settling }

    /// Whether the device is given up or closed.
    var isAway: Bool { phase == .off || phase == .closed }

    /// Goes from one phase to another one; answers false when it is in a third one already.
    func change(from old: FlashPhase, to new: FlashPhase) -> Bool {
        phaseWord.compareExchange(
            expected: old.rawValue, desired: new.rawValue, ordering: .sequentiallyConsistent
        ).exchanged
    }

    /// Closes it; answers what it did before.
    func setClosed() -> FlashPhase {
        let before = phaseWord.exchange(
            FlashPhase.closed.rawValue, ordering: .sequentiallyConsistent)
        return FlashPhase(rawValue: before) ?? .off
    }

    /// The next upkeep makes a checkpoint.
    func needCheckpoint() { checkpointIsDue.store(true, ordering: .relaxed) }

    /// Whether a checkpoint is due; it is not any more.
    func takeCheckpointNeed() -> Bool {
        checkpointIsDue.exchange(false, ordering: .relaxed)
    }

    /// What the mount is to remember of the device, before its first write to the datastore and
    /// again when it has changed.
    package var instance: UInt64 { header.withLock { $0.instance } }

    /// Writes of the header so far, to be remembered with the instance.
    package var sequence: UInt64 { header.withLock { $0.sequence } }

    /// What it did and holds. Waits for no device.
    package var statistics: FlashStatistics {
        var result = counters.snapshot()
        result.phase = phase
        result.loaded = loadProgress
        result.slots = UInt64(geometry.slotCount)
        result.files = UInt64(files.count)
        result.mappedBlocks = UInt64(map.entries)
        let keptBytes = kept.withLock { kept in
            (result.keptSlots, result.keptTooMany) = (UInt64(kept.count), UInt64(kept.tooMany))
            return kept.bytes
        }
        result.indexBytes = UInt64(arenaBytes + map.bytes + keptBytes)
        result.totalWrittenBytes = writtenBefore + result.writtenBytes
        budget.withLock { budget in
            let now = clock()
            result.budgetBytes = budget.left(now: now)
            result.writesPerDay = budget.writesPerDay(now: now)
        }
        return result
    }

    /// How much of the index is read, from 0 to 1.
    private var loadProgress: Double {
        guard phase == .loading else { return 1 }
        let done = counters.loadedRegions.load(ordering: .relaxed)
        // The map's log is as long as some regions, and is read behind them.
        return Double(done) / Double(geometry.regionCount + geometry.regionCount / 16 + 1)
    }

    // MARK: - Giving the device up

    /// Returns once no map on a device that is off or closed will be believed.
    func awaitForgotten() {
        if isForgotten.load(ordering: .sequentiallyConsistent) { return }
        givingUp.withLock { _ in forget() }
    }

    private func forget() {
        guard !isForgotten.load(ordering: .sequentiallyConsistent) else { return }
        remember(nil)
        isForgotten.store(true, ordering: .sequentiallyConsistent)
    }

    /// What is written without the device from now on makes its maps wrong.
    func mustForget() { isForgotten.store(false, ordering: .sequentiallyConsistent) }

    /// The device cannot be relied on: from now on nothing is found and nothing stored. Returns
    /// when it is durable that its maps are not to be believed.
    func giveUp(_ reason: String) {
        givingUp.withLock { _ in
            var before = phase
            guard !isAway else { return }
            mustForget()
            while !change(from: before, to: .off) {
                before = phase
                if isAway { return }
            }
            forget()
            files.removeAll()
            map.removeAll()
            Events.raise(.cache, .problem, "flash is not used: \(reason)")
        }
    }

    /// The device is as good as new: it is used again, and what is stored on it from now on is to
    /// be believed.
    func useAgain() {
        givingUp.withLock { _ in
            guard phase == .off else { return }
            remember(instance)
            guard change(from: .off, to: .on) else { return }
            Events.raise(.cache, .recovered, "flash is used again")
        }
    }
}
