import FlashTier
import Journal
import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls

// The numbers behind `user.forebay.*` and `forebay status`.
extension Datastore {
    /// The numbers of a file, of everything below a folder, or of the whole datastore.
    package func statistics(of node: NodeID) throws(Errno) -> StatisticsReport {
        let top = try inode(node)
        var report = StatisticsReport()
        let covered = nodes(below: top)
        if node == .root {
            report.add(counters)
        } else {
            for inode in covered { report.add(inode.counters) }
        }
        let blocks = cachedBlocks(of: covered, isAll: node == .root)
        report.cachedBytes = UInt64(blocks * Limits.blockSize)
        report.dirtyBytes =
            node == .root ? writeBack?.dirtyBytes ?? 0 : dirtyBytes(of: covered)
        return report
    }

    /// Blocks of files that are in a tier, those in both counted once. `isAll`: of files that
    /// nobody asked for since the start too.
    private func cachedBlocks(of inodes: [Inode], isAll: Bool) -> Int {
        let stored = flash?.tier
        var blocks = 0
        forEachBlockInRAM(of: inodes) { file, block, _ in
            if stored?.slot(file, block: block) == nil { blocks += 1 }
        }
        guard let stored else { return blocks }
        if isAll { return blocks + Int(stored.storedBlocks) }
        return inodes.lazy.filter { $0.isRegular }
            .reduce(blocks) { $0 + Int(stored.blocks(of: $1.node.rawValue)) }
    }

    /// Contents of the RAM tier that are in flash as well.
    private func contentsInBoth(_ stored: FlashCache.Tier) -> Int {
        var both: Set<UInt32> = []
        forEachBlockInRAM(of: inodes.all()) { file, block, content in
            if stored.slot(file, block: block) != nil { both.insert(content) }
        }
        return both.count
    }

    /// Tells of each block of these files in memory which content it has, by node.
    private func forEachBlockInRAM(
        of inodes: [Inode], _ visit: (UInt64, UInt64, UInt32) -> Void
    ) {
        // Those without a map have nothing in memory; their number stands for many of them.
        var files: [UInt32: UInt64] = [:]
        for inode in inodes where inode.isRegular {
            files[inode.blockMap.load(ordering: .relaxed)] = inode.node.rawValue
        }
        tier.forEachBlock { map, block, content in
            if let file = files[map.rawValue] { visit(file, block, content) }
        }
    }

    /// True for the root of the mount, which stands for the whole datastore.
    package func isRoot(_ node: NodeID) -> Bool { node == .root }

    /// What only the whole datastore has.
    package func report() -> DatastoreReport {
        let statistics = tier.statistics
        var report = DatastoreReport()
        report.uniqueBytesRAM = UInt64(statistics.uniqueBlocks * Limits.blockSize)
        report.bookkeepingBytes = UInt64(statistics.bookkeepingBytes)
        report.budgetBytes = UInt64(options.ram)
        let taken = tier.takenBytes
        report.sharedBytesRAM = UInt64(taken.shared)
        report.ownBytesRAM = UInt64(taken.own)
        report.evictions = UInt64(statistics.evictions)
        report.inodes = UInt64(inodes.count)
        report.descriptors = UInt64(descriptors.count)
        report.health = health()
        report.healthTransitions = backing.health.transitions
        report.uniqueBytes = report.uniqueBytesRAM
        if let flash { add(flash, to: &report) }
        report.log = logReport()
        return report
    }

    private func add(_ flash: FlashCache, to report: inout DatastoreReport) {
        var result = FlashReport()
        result.path = flash.option.path
        result.skippedBlocks = flash.offers.skipped.load(ordering: .relaxed)
        result.writesPerDayLimit = options.flashWritesPerDay
        let problem = flash.problem
        if !problem.isEmpty { result.state = "off: \(problem)" }
        if let stored = flash.tier {
            let statistics = stored.statistics
            switch stored.phase {
            case .loading, .settling: result.state = "loading"
            case .on: result.state = "on"
            case .off, .closed: result.state = "off: the device failed"
            }
            result.loaded = statistics.loaded
            result.sizeBytes = statistics.slots * UInt64(Limits.blockSize)
            result.storedBytes = statistics.filledSlots * UInt64(Limits.blockSize)
            result.writtenBytes = statistics.writtenBytes
            result.writesPerDay = statistics.writesPerDay
            result.indexBytes = statistics.indexBytes
            result.damagedBlocks = statistics.damaged
            result.errors = statistics.errors
            report.uniqueBytesFlash = result.storedBytes
            let both = UInt64(contentsInBoth(stored) * Limits.blockSize)
            report.uniqueBytes =
                report.uniqueBytesRAM - min(both, report.uniqueBytesRAM) + result.storedBytes
        }
        report.flash = result
    }

    /// `healthy`, or what is wrong: what matters most first.
    package func health() -> String {
        if !backing.health.isAway, let reason = settings.bypass.reason {
            return "bypass: \(reason)"
        }
        let text = backing.health.text
        guard text == "healthy" else { return text }
        if let log = logReport(), log.isPoisoned || writeBack == nil, options.log != nil {
            let reason = log.isPoisoned ? "the device failed" : logOpening.problem
            return "degraded: the log is not used: \(reason)"
        }
        guard let flash else { return text }
        if !flash.problem.isEmpty { return "degraded: flash is not used: \(flash.problem)" }
        if flash.tier?.phase == .off { return "degraded: flash is not used: the device failed" }
        return text
    }
}

extension StatisticsReport {
    fileprivate mutating func add(_ counters: Counters) {
        reads += counters[.reads]
        readBytes += counters[.readBytes]
        writes += counters[.writes]
        writeBytes += counters[.writeBytes]
        hitsRAM += counters[.hitsRAM]
        hitsFlash += counters[.hitsFlash]
        hitsZero += counters[.hitsZero]
        misses += counters[.misses]
        bypassed += counters[.bypassed]
        backendReads += counters[.backendReads]
        backendReadBytes += counters[.backendReadBytes]
        backendWrites += counters[.backendWrites]
        backendWriteBytes += counters[.backendWriteBytes]
        savedReads += counters[.savedReads]
        savedBytes += counters[.savedBytes]
        hitsDirty += counters[.hitsDirty]
        savedWrites += counters[.savedWrites]
        savedWriteBytes += counters[.savedWriteBytes]
    }
}
