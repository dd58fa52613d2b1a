import DataPath
import Policy
import Syscalls

/// The value of a statistic, as text and as JSON.
package enum StatisticValue: Equatable, Sendable {
    case number(UInt64)
    /// A quotient as decimal digits.
    case decimal(String)
    case text(String)
    /// yes or no; true or false in JSON.
    case flag(Bool)

    /// The value of the extended attribute.
    package var plain: String {
        switch self {
        case .number(let number): String(number)
        case .decimal(let digits): digits
        case .text(let text): text
        case .flag(let flag): flag ? "yes" : "no"
        }
    }
}

/// All numbers of one node at one moment.
struct Snapshot: Sendable {
    let statistics: StatisticsReport
    let datastore: DatastoreReport
    let facts: ServerFacts

    /// Blocks that a tier answered.
    var hits: UInt64 {
        statistics.hitsRAM &+ statistics.hitsFlash &+ statistics.hitsDirty
            &+ statistics.hitsZero
    }

    /// Nothing is in the journal only.
    var isAllHome: Bool { statistics.dirtyBytes == 0 && (datastore.log?.isAllHome ?? true) }

    /// The flash tier; all zero when the mount has none.
    var flash: FlashReport { datastore.flash ?? FlashReport() }

    /// The journal; all zero when the mount has none.
    var log: LogReport { datastore.log ?? LogReport() }
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
    static let all: [Statistic] = perNode + wholeDatastore + flashTier + journal

    private static let perNode: [Statistic] = [
        Statistic("reads") { .number($0.statistics.reads) },
        Statistic("read_bytes") { .number($0.statistics.readBytes) },
        Statistic("writes") { .number($0.statistics.writes) },
        Statistic("write_bytes") { .number($0.statistics.writeBytes) },
        Statistic("hits_ram") { .number($0.statistics.hitsRAM) },
        Statistic("hits_flash") { .number($0.statistics.hitsFlash) },
        Statistic("hits_dirty") { .number($0.statistics.hitsDirty) },
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
        Statistic("saved_ios") {
            .number($0.statistics.savedReads &+ $0.statistics.savedWrites)
        },
        Statistic("saved_bytes") {
            .number($0.statistics.savedBytes &+ $0.statistics.savedWriteBytes)
        },
        Statistic("cached_bytes") { .number($0.statistics.cachedBytes) },
        Statistic("dirty_bytes") { .number($0.statistics.dirtyBytes) },
    ]

    private static let wholeDatastore: [Statistic] = [
        Statistic("unique_bytes_ram", rootOnly: true) { .number($0.datastore.uniqueBytesRAM) },
        Statistic("unique_bytes_flash", rootOnly: true) { .number($0.datastore.uniqueBytesFlash) },
        Statistic("unique_bytes", rootOnly: true) { .number($0.datastore.uniqueBytes) },
        Statistic("dedup_ratio", rootOnly: true) {
            .decimal(
                Ratio.text(
                    $0.statistics.cachedBytes, $0.datastore.uniqueBytes, decimals: 2,
                    whenEmpty: "1.00"))
        },
        Statistic("health", rootOnly: true) { .text($0.datastore.health) },
        Statistic("health_transitions", rootOnly: true) {
            .number($0.datastore.healthTransitions)
        },
        Statistic("version", rootOnly: true) { _ in .text(Version.text) },
        Statistic("uptime", rootOnly: true) { .number($0.facts.uptime) },
        Statistic("restarts", rootOnly: true) { .number($0.facts.restarts) },
    ]

    private static let flashTier: [Statistic] = [
        Statistic("flash_state", rootOnly: true) { .text($0.datastore.flash?.state ?? "none") },
        Statistic("flash_loaded", rootOnly: true) { .decimal(Ratio.text($0.flash.loaded)) },
        Statistic("flash_size_bytes", rootOnly: true) { .number($0.flash.sizeBytes) },
        Statistic("flash_written_bytes", rootOnly: true) { .number($0.flash.writtenBytes) },
        Statistic("flash_writes_per_day", rootOnly: true) {
            .decimal(Ratio.text($0.flash.writesPerDay))
        },
        Statistic("flash_index_bytes", rootOnly: true) { .number($0.flash.indexBytes) },
        Statistic("flash_damaged_blocks", rootOnly: true) { .number($0.flash.damagedBlocks) },
        Statistic("flash_errors", rootOnly: true) { .number($0.flash.errors) },
        Statistic("flash_skipped_blocks", rootOnly: true) { .number($0.flash.skippedBlocks) },
    ]

    private static let journal: [Statistic] = [
        Statistic("log_state", rootOnly: true) { .text($0.datastore.log?.state ?? "none") },
        Statistic("log_size_bytes", rootOnly: true) { .number($0.log.capacity) },
        Statistic("log_used_bytes", rootOnly: true) { .number($0.log.used) },
        Statistic("dirty_files", rootOnly: true) { .number($0.log.dirtyFiles) },
        Statistic("dirty_oldest_seconds", rootOnly: true) { .number($0.log.oldestSeconds) },
        Statistic("dirty_max_bytes", rootOnly: true) { .number($0.log.dirtyMax) },
        Statistic("destage_bytes_per_second", rootOnly: true) { .number($0.log.destageRate) },
        Statistic("destaged_bytes", rootOnly: true) { .number($0.log.destagedBytes) },
        Statistic("set_aside_files", rootOnly: true) { .number($0.log.setAsideFiles) },
        Statistic("all_data_home", rootOnly: true) { .flag($0.isAllHome) },
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
            case .flag(let flag): add(statistic.name, flag)
            }
        }
    }
}
