import DataPath
import Policy
import Syscalls

/// The value of a statistic, as text and as JSON.
package enum StatisticValue: Equatable, Sendable {
    case number(UInt64)
    /// A quotient as decimal digits.
    case decimal(String)
    case text(String)

    /// The value of the extended attribute.
    package var plain: String {
        switch self {
        case .number(let number): String(number)
        case .decimal(let digits): digits
        case .text(let text): text
        }
    }
}

/// All numbers of one node at one moment.
struct Snapshot: Sendable {
    let statistics: StatisticsReport
    let datastore: DatastoreReport
    let facts: ServerFacts
    // The tiers that answer these are not part of this version: nothing is ever in them.
    let hitsFlash: UInt64 = 0
    let hitsDirty: UInt64 = 0
    let dirtyBytes: UInt64 = 0
    let uniqueBytesFlash: UInt64 = 0

    /// Blocks that a tier answered.
    var hits: UInt64 {
        statistics.hitsRAM &+ hitsFlash &+ hitsDirty &+ statistics.hitsZero
    }

    /// Contents stored in any tier, counted once.
    var uniqueBytes: UInt64 { datastore.uniqueBytesRAM &+ uniqueBytesFlash }
}

/// One number that users can read, under its name behind `user.forebay.`.
struct Statistic: Sendable {
    let name: String
    /// Only on the root of the mount.
    let isRootOnly: Bool
    let value: @Sendable (Snapshot) -> StatisticValue

    init(
        _ name: String, rootOnly: Bool = false,
        _ value: @escaping @Sendable (Snapshot) -> StatisticValue
    ) {
        self.name = name
        isRootOnly = rootOnly
        self.value = value
    }

    /// Every statistic, in the order in which they are shown.
    static let all: [Statistic] = perNode + wholeDatastore

    private static let perNode: [Statistic] = [
        Statistic("reads") { .number($0.statistics.reads) },
        Statistic("read_bytes") { .number($0.statistics.readBytes) },
        Statistic("writes") { .number($0.statistics.writes) },
        Statistic("write_bytes") { .number($0.statistics.writeBytes) },
        Statistic("hits_ram") { .number($0.statistics.hitsRAM) },
        Statistic("hits_flash") { .number($0.hitsFlash) },
        Statistic("hits_dirty") { .number($0.hitsDirty) },
        Statistic("hits_zero") { .number($0.statistics.hitsZero) },
        Statistic("misses") { .number($0.statistics.misses) },
        Statistic("bypassed") { .number($0.statistics.bypassed) },
        Statistic("hit_ratio") {
            .decimal(
                Ratio.text(
                    $0.hits, $0.hits &+ $0.statistics.misses, decimals: 4, whenEmpty: "0.0000"))
        },
        Statistic("backend_reads") { .number($0.statistics.backendReads) },
        Statistic("backend_read_bytes") { .number($0.statistics.backendReadBytes) },
        Statistic("backend_writes") { .number($0.statistics.backendWrites) },
        Statistic("backend_write_bytes") { .number($0.statistics.backendWriteBytes) },
        Statistic("saved_ios") { .number($0.statistics.savedReads) },
        Statistic("saved_bytes") { .number($0.statistics.savedBytes) },
        Statistic("cached_bytes") { .number($0.statistics.cachedBytes) },
        Statistic("dirty_bytes") { .number($0.dirtyBytes) },
    ]

    private static let wholeDatastore: [Statistic] = [
        Statistic("unique_bytes_ram", rootOnly: true) { .number($0.datastore.uniqueBytesRAM) },
        Statistic("unique_bytes_flash", rootOnly: true) { .number($0.uniqueBytesFlash) },
        Statistic("unique_bytes", rootOnly: true) { .number($0.uniqueBytes) },
        Statistic("dedup_ratio", rootOnly: true) {
            .decimal(
                Ratio.text(
                    $0.statistics.cachedBytes, $0.uniqueBytes, decimals: 2, whenEmpty: "1.00"))
        },
        Statistic("health", rootOnly: true) { .text($0.datastore.health) },
        Statistic("health_transitions", rootOnly: true) {
            .number($0.datastore.healthTransitions)
        },
        Statistic("version", rootOnly: true) { _ in .text(Version.text) },
        Statistic("uptime", rootOnly: true) { .number($0.facts.uptime) },
        Statistic("restarts", rootOnly: true) { .number($0.facts.restarts) },
    ]
}

extension JSONWriter {
    /// Adds every statistic that applies, under its name.
    mutating func add(_ snapshot: Snapshot, isRoot: Bool) {
        for statistic in Statistic.all where isRoot || !statistic.isRootOnly {
            switch statistic.value(snapshot) {
            case .number(let number): add(statistic.name, number)
            case .decimal(let digits): add(statistic.name, json: digits)
            case .text(let text): add(statistic.name, text)
            }
        }
    }
}
