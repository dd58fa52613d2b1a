import ControlPath
import DataPath
import Passthrough
import Policy
import Synchronization
import Syscalls
import Testing

@Suite struct VirtualXattrsTests {
    private let datastore = FakeDatastore()
    private let xattrs: VirtualXattrs
    private let file = NodeID(2)

    init() {
        xattrs = VirtualXattrs(datastore: datastore, facts: testFacts())
    }

    private func get(_ name: String, _ node: NodeID = .root) -> Result<String, Errno> {
        do throws(Errno) {
            let bytes = try xattrs.get(node: node, name: "user.forebay.\(name)")
            return .success(String(decoding: bytes, as: UTF8.self))
        } catch {
            return .failure(error)
        }
    }

    private func set(
        _ name: String, _ value: String, _ node: NodeID = .root, uid: UInt32 = 0
    ) -> Errno? {
        let bytes = Array(value.utf8)
        let xattrs = xattrs
        return bytes.withUnsafeBytes { buffer in
            do throws(Errno) {
                try xattrs.set(node: node, name: "user.forebay.\(name)", value: buffer, uid: uid)
                return nil
            } catch {
                return error
            }
        }
    }

    private static let perNode = [
        "reads", "read_bytes", "writes", "write_bytes", "hits_ram", "hits_flash", "hits_dirty",
        "hits_zero", "misses", "bypassed", "hit_ratio", "backend_reads", "backend_read_bytes",
        "backend_writes", "backend_write_bytes", "saved_ios", "saved_bytes", "cached_bytes",
        "dirty_bytes",
    ]
    private static let rootOnly = [
        "log_state", "log_size_bytes", "log_used_bytes", "dirty_files", "dirty_oldest_seconds",
        "dirty_max_bytes", "destage_bytes_per_second", "destaged_bytes", "set_aside_files",
        "all_data_home",
        "unique_bytes_ram", "unique_bytes_flash", "unique_bytes", "dedup_ratio", "health",
        "health_transitions", "version", "uptime", "restarts", "flash_state", "flash_loaded",
        "flash_size_bytes", "flash_written_bytes", "flash_writes_per_day", "flash_index_bytes",
        "flash_damaged_blocks", "flash_errors", "flash_skipped_blocks",
    ]

    @Test func theTableIsTheContract() {
        let others = ["stats", "policy", "cache", "flush", "drop"]
        let all = (Self.perNode + Self.rootOnly + others).map { "user.forebay." + $0 }
        #expect(xattrs.names == all.sorted())
    }

    @Test(arguments: perNode) func numbersAreEverywhere(name: String) throws {
        for node in [NodeID.root, file] {
            let text = try get(name, node).get()
            #expect(Double(text) == 0)
        }
    }

    @Test(arguments: rootOnly) func someAreOnTheRootOnly(name: String) throws {
        #expect(try !get(name).get().isEmpty)
        #expect(get(name, file) == .failure(.noData))
    }

    @Test func emptyValues() {
        #expect(get("hit_ratio") == .success("0.0000"))
        #expect(get("dedup_ratio") == .success("1.00"))
        #expect(get("health") == .success("healthy"))
        #expect(get("restarts") == .success("0"))
        #expect(get("flash_state") == .success("none"))
        #expect(get("flash_loaded") == .success("0.00"))
        #expect(get("flash_size_bytes") == .success("0"))
    }

    @Test func ratiosFollowTheNumbers() {
        datastore.state.withLock {
            $0.statistics.hitsRAM = 1
            $0.statistics.hitsFlash = 1
            $0.statistics.hitsZero = 1
            $0.statistics.misses = 6
            $0.statistics.bypassed = 100
            $0.statistics.cachedBytes = 304
            $0.report.uniqueBytesRAM = 150
            $0.report.uniqueBytesFlash = 90
            $0.report.uniqueBytes = 200
            $0.statistics.savedReads = 5
        }
        #expect(get("hit_ratio") == .success("0.3333"))
        #expect(get("dedup_ratio") == .success("1.52"))
        #expect(get("unique_bytes") == .success("200"))
        #expect(get("unique_bytes_flash") == .success("90"))
        #expect(get("hits_flash", file) == .success("1"))
        #expect(get("saved_ios") == .success("5"))
    }

    @Test func flashIsReported() {
        var flash = FlashReport()
        flash.path = "/dev/x"
        flash.state = "off: it fails"
        flash.loaded = 0.256
        flash.sizeBytes = 1 << 40
        flash.writesPerDay = 2.5
        flash.damagedBlocks = 7
        datastore.state.withLock { [flash] in $0.report.flash = flash }
        #expect(get("flash_state") == .success("off: it fails"))
        #expect(get("flash_loaded") == .success("0.26"))
        #expect(get("flash_size_bytes") == .success("1099511627776"))
        #expect(get("flash_writes_per_day") == .success("2.50"))
        #expect(get("flash_damaged_blocks") == .success("7"))
        for number in [-1, .nan, .infinity] { #expect(Ratio.text(number) == "0.00") }
        #expect(Ratio.text(1e300) == "1000000000.00")
    }

    @Test func theJournalIsReported() throws {
        #expect(get("log_state") == .success("none"))
        #expect(get("all_data_home") == .success("yes"))
        var log = LogReport()
        log.state = "on"
        log.capacity = 1 << 30
        log.used = 5 << 20
        log.dirtyBytes = 4 << 20
        log.dirtyFiles = 2
        log.oldestSeconds = 3
        log.setAsideFiles = 1
        datastore.state.withLock { [log] in
            $0.report.log = log
            $0.statistics.dirtyBytes = 4 << 20
            $0.statistics.hitsDirty = 3
            $0.statistics.misses = 1
            $0.statistics.savedReads = 3
            $0.statistics.savedWrites = 4
            $0.statistics.savedBytes = 100
            $0.statistics.savedWriteBytes = 1000
        }
        #expect(get("log_state") == .success("on"))
        #expect(set("policy", "back", file) == nil)
        #expect(get("policy", file) == .success("back"))
        #expect(get("log_size_bytes") == .success("1073741824"))
        #expect(get("dirty_bytes", file) == .success("4194304"))
        #expect(get("dirty_files") == .success("2"))
        #expect(get("set_aside_files") == .success("1"))
        #expect(get("hits_dirty", file) == .success("3"))
        #expect(get("hit_ratio") == .success("0.7500"))
        #expect(get("saved_ios", file) == .success("7"))
        #expect(get("saved_bytes", file) == .success("1100"))
        #expect(get("all_data_home") == .success("no"))
        let stats = try #require(JSONValue(parsing: try get("stats").get()))
        #expect(stats["all_data_home"] == .flag(false))
    }

    @Test func statsHoldsEveryNumber() throws {
        for node in [NodeID.root, file] {
            let stats = try #require(JSONValue(parsing: try get("stats", node).get()))
            for name in Self.perNode { #expect(stats[name] != nil, "\(name)") }
            for name in Self.rootOnly {
                #expect((stats[name] != nil) == (node == .root), "\(name)")
            }
        }
    }

    @Test func policiesAreSetResetAndRead() {
        #expect(get("cache", file) == .success("normal"))
        #expect(set("cache", "pin", file) == nil)
        #expect(get("cache", file) == .success("pin"))
        #expect(set("cache", "bypass\n", file) == nil)
        #expect(get("cache", file) == .success("bypass"))
        #expect(set("cache", "inherit", file) == nil)
        #expect(get("cache", file) == .success("normal"))
        #expect(get("policy", file) == .success("through"))
        #expect(set("policy", "through", file) == nil)
        #expect(set("policy", "inherit", file) == nil)
    }

    @Test(arguments: [
        ("cache", "junk"), ("cache", ""), ("cache", "pin "), ("policy", "back"), ("flush", "0"),
        ("flush", ""), ("drop", "yes"), ("drop", String(repeating: "1", count: 70_000)),
    ])
    func badValuesAreInvalid(name: String, value: String) {
        #expect(set(name, value) == .invalid)
    }

    @Test(arguments: ["cache", "policy", "flush", "drop", "reads", "stats", "unknown", ""])
    func onlyRootSets(name: String) {
        #expect(set(name, "1", uid: 1000) == .notPermitted)
    }

    @Test func numbersCannotBeSet() {
        for name in Self.perNode + Self.rootOnly + ["stats"] {
            #expect(set(name, "1") == .notPermitted)
        }
        #expect(set("unknown", "1") == .notSupported)
    }

    @Test func unknownNamesAndOrdersHaveNoValue() {
        for name in ["", "unknown", "reads ", "READS", "flush", "drop", "reads.x"] {
            #expect(get(name) == .failure(.noData))
        }
    }

    @Test func ordersReachTheDatastore() {
        #expect(set("flush", "1", file) == nil)
        #expect(set("drop", "1") == nil)
        datastore.state.withLock {
            #expect($0.flushed == [2])
            #expect($0.dropped == [1])
        }
    }

    @Test func errorsOfTheDatastorePass() {
        #expect(get("reads", NodeID(99)) == .failure(.stale))
        datastore.state.withLock { $0.failure = .mustWait }
        #expect(get("reads") == .failure(.mustWait))
        #expect(set("cache", "pin") == .mustWait)
    }

    @Test func removingAPolicyInheritsAgain() throws {
        #expect(set("cache", "pin", file) == nil)
        try xattrs.remove(node: file, name: "user.forebay.cache", uid: 0)
        #expect(get("cache", file) == .success("normal"))
        #expect(throws: Errno.notPermitted) {
            try xattrs.remove(node: file, name: "user.forebay.cache", uid: 1)
        }
        #expect(throws: Errno.notPermitted) {
            try xattrs.remove(node: file, name: "user.forebay.reads", uid: 0)
        }
        #expect(throws: Errno.noData) {
            try xattrs.remove(node: file, name: "user.forebay.unknown", uid: 0)
        }
    }

    @Test(arguments: [
        ("user.forebay.reads", true), ("user.forebay.", true), ("user.forebay", false),
        ("user.forebayx", false), ("user.other", false), ("security.forebay.x", false), ("", false),
    ])
    func thePrefixIsReserved(name: String, isReserved: Bool) {
        #expect(VirtualXattrs.isReserved(name) == isReserved)
    }
}
