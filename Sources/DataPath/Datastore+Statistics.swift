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
        report.cachedBytes = UInt64(cachedBlocks(of: covered) * Limits.blockSize)
        return report
    }

    private func cachedBlocks(of inodes: [Inode]) -> Int {
        var maps: Set<UInt32> = []
        for inode in inodes where inode.isRegular {
            maps.insert(inode.blockMap.load(ordering: .relaxed))
        }
        var blocks = 0
        tier.cachedBlocks { map, count in
            if maps.contains(map.rawValue) { blocks += count }
        }
        return blocks
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
        report.evictions = UInt64(statistics.evictions)
        report.inodes = UInt64(inodes.count)
        report.descriptors = UInt64(descriptors.count)
        report.health = health()
        report.healthTransitions = backing.health.transitions
        return report
    }

    /// `healthy`, or what is wrong. A datastore that is away matters more than the bypass.
    package func health() -> String {
        if !backing.health.isAway, let reason = settings.bypass.reason {
            return "bypass: \(reason)"
        }
        return backing.health.text
    }
}

extension StatisticsReport {
    fileprivate mutating func add(_ counters: Counters) {
        reads += counters[.reads]
        readBytes += counters[.readBytes]
        writes += counters[.writes]
        writeBytes += counters[.writeBytes]
        hitsRAM += counters[.hitsRAM]
        hitsZero += counters[.hitsZero]
        misses += counters[.misses]
        bypassed += counters[.bypassed]
        backendReads += counters[.backendReads]
        backendReadBytes += counters[.backendReadBytes]
        backendWrites += counters[.backendWrites]
        backendWriteBytes += counters[.backendWriteBytes]
        savedReads += counters[.savedReads]
        savedBytes += counters[.savedBytes]
    }
}
