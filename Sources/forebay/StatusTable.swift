import ControlPath
import Policy

/// The numbers of one mount for people.
struct StatusTable {
    private let status: JSONValue

    init(_ status: JSONValue) { self.status = status }

    var text: String {
        let tiers = [
            ("health", word("health")),
            ("all data home", status["all_data_home"] == .flag(true) ? "yes" : "no"),
            ("RAM tier", ram),
            ("flash tier", flash),
            ("journal", log),
        ]
        let numbers = [
            ("hit ratio", hits),
            (
                "dedup ratio",
                "\(word("dedup_ratio")) (\(size("cached_bytes")) in"
                    + " \(size("unique_bytes")))"
            ),
            ("clients read", "\(word("reads")) requests, \(size("read_bytes"))"),
            ("clients wrote", "\(word("writes")) requests, \(size("write_bytes"))"),
            ("datastore read", "\(word("backend_reads")) requests, \(size("backend_read_bytes"))"),
            (
                "datastore wrote",
                "\(word("backend_writes")) requests, \(size("backend_write_bytes"))"
            ),
            ("saved", "\(word("saved_ios")) requests, \(size("saved_bytes"))"),
            ("known files", "\(word("inodes")), \(word("descriptors")) open on the datastore"),
            ("memory", memory),
            (
                "processes",
                "keeper \(word("keeper_pid")), server \(word("server_pid")),"
                    + " \(word("restarts")) restarts, last pause \(word("last_pause")) s"
            ),
            ("up", "\(uptime), version \(word("version"))"),
        ]
        let access = status["read_only"] == .flag(true) ? "read-only" : "read-write"
        var lines = [
            "\(word("name")): \(word("backing")) on \(word("mountpoint")), \(access)"
        ]
        for (title, value) in tiers + flashRows + logRows + numbers + pageCacheRows {
            let padding = String(repeating: " ", count: max(1, 18 - title.count))
            lines.append("  \(title)\(padding)\(value)")
        }
        return lines.joined(separator: "\n")
    }

    private func word(_ key: String) -> String { status[key]?.plain ?? "?" }

    private func size(_ key: String) -> String {
        status[key]?.unsigned.map { ByteSize.readable($0) } ?? "?"
    }

    private var ram: String {
        let used = status["unique_bytes_ram"]?.unsigned ?? 0
        let tables = status["ram_bookkeeping_bytes"]?.unsigned ?? 0
        return "\(ByteSize.readable(used)) of contents and \(ByteSize.readable(tables)) of tables,"
            + " at most \(size("ram_budget_bytes"))"
    }

    private var memory: String {
        "\(size("ram_resident_bytes")) of the RAM tier,"
            + " \(size("server_beyond_ram_bytes")) beside it"
    }

    private var hits: String {
        "\(word("hit_ratio")) (RAM \(word("hits_ram")), flash \(word("hits_flash")),"
            + " journal \(word("hits_dirty")), zero \(word("hits_zero")), missed \(word("misses")),"
            + " bypassed \(word("bypassed")))"
    }

    private var flash: String {
        let state = word("flash_state")
        switch state {
        case "on":
            return "\(size("unique_bytes_flash")) of contents, room for \(size("flash_size_bytes"))"
        case "loading":
            let loaded = Double(word("flash_loaded")) ?? 0
            return "loading, \(Int(loaded * 100 + 0.5)) %"
        default: return state
        }
    }

    /// More of a flash tier that is open; nothing without one.
    private var flashRows: [(String, String)] {
        guard ["on", "loading"].contains(word("flash_state")) else { return [] }
        let limit = word("flash_writes_per_day_limit")
        var rows = [
            ("  device", "\(word("flash_path")), \(size("flash_index_bytes")) of memory"),
            (
                "  written",
                "\(size("flash_written_bytes")), \(word("flash_writes_per_day")) drive writes"
                    + " per day" + (limit == "0.00" ? "" : ", at most \(limit)")
            ),
        ]
        let (damaged, failed) = (word("flash_damaged_blocks"), word("flash_errors"))
        if damaged != "0" || failed != "0" {
            rows.append(("  damage", "\(damaged) blocks damaged, \(failed) not readable"))
        }
        return rows
    }

    private var log: String {
        let state = word("log_state")
        guard state != "none" else { return state }
        return "\(state), \(size("dirty_bytes")) dirty in \(word("dirty_files")) files"
    }

    /// More of a journal; nothing without one.
    private var logRows: [(String, String)] {
        guard word("log_state") != "none" else { return [] }
        var rows = [
            (
                "  device",
                "\(word("log_path")), \(size("log_used_bytes")) of \(size("log_size_bytes")) in use"
            ),
            (
                "  dirty",
                "oldest \(word("dirty_oldest_seconds")) s, writers are slowed from"
                    + " \(size("dirty_max_bytes"))"
            ),
            (
                "  destaged",
                "\(size("destaged_bytes")), now \(size("destage_bytes_per_second")) a second"
            ),
        ]
        if word("set_aside_files") != "0" {
            rows.append(("  set aside", "\(word("set_aside_files")) files, see the log"))
        }
        if let loss = status["log_last_loss"]?.plain { rows.append(("  lost", loss)) }
        return rows
    }

    /// What the kernel holds above the mount, where it was asked for.
    private var pageCacheRows: [(String, String)] {
        guard let known = status["page_cache_known_files"]?.plain else { return [] }
        let unreadable = word("page_cache_unreadable_files")
        return [
            (
                "page cache",
                "\(size("page_cache_bytes")) of \(word("page_cache_files")) files,"
                    + " \(known) looked at"
                    + (unreadable == "0" ? "" : ", \(unreadable) not readable")
            )
        ]
    }

    private var uptime: String {
        let seconds = status["uptime"]?.unsigned ?? 0
        func two(_ number: UInt64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let clock =
            "\(two(seconds / 3600 % 24)):\(two(seconds / 60 % 60)):\(two(seconds % 60))"
        return seconds < 86400 ? clock : "\(seconds / 86400) days \(clock)"
    }
}
