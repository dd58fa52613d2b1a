import ArgumentParser
import ControlPath
import Glibc
import Policy

struct StatusCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the health and the numbers of mounts.")

    @Argument(help: "The mount; all of them when left out.")
    var mountpoint: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    /// Milliseconds that a server may take to answer.
    static let patience: UInt64 = 5000

    func execute() throws(Refusal) {
        guard geteuid() == 0 else {
            throw Refusal("permission", "only root may ask a server", hint: "use sudo")
        }
        if let mountpoint {
            try show(try MountedDatastore.find(mountpoint))
        } else {
            try showAll()
        }
    }

    private func ask(_ mount: MountedDatastore) throws(Refusal) -> JSONValue {
        let status = try mount.ask("status", milliseconds: Self.patience)
        if let reason = status["error"]?.plain {
            throw Refusal("status of '\(mount.mountpoint)'", reason, hint: "see the log")
        }
        return status
    }

    private func show(_ mount: MountedDatastore) throws(Refusal) {
        let status = try ask(mount)
        print(json ? status.json : StatusTable(status).text)
    }

    private func showAll() throws(Refusal) {
        var objects: [String] = []
        var failure: Refusal?
        for mount in MountedDatastore.all() {
            do throws(Refusal) {
                let status = try ask(mount)
                objects.append(json ? status.json : StatusTable(status).text)
            } catch {
                // The others are shown all the same.
                failure = failure ?? error
            }
        }
        if json {
            var writer = JSONWriter()
            writer.add("mounts", list: objects)
            print(writer.finish())
        } else if objects.isEmpty && failure == nil {
            print("No datastore is mounted.")
        } else {
            print(objects.joined(separator: "\n"))
        }
        if let failure { throw failure }
    }
}

/// The numbers of one mount for people.
struct StatusTable {
    private let status: JSONValue

    init(_ status: JSONValue) { self.status = status }

    var text: String {
        let rows = [
            ("health", word("health")),
            ("all data home", status["all_data_home"] == .flag(true) ? "yes" : "no"),
            ("RAM tier", ram),
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
            ("dirty", size("dirty_bytes")),
            ("known files", "\(word("inodes")), \(word("descriptors")) open on the datastore"),
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
        for (title, value) in rows {
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

    private var hits: String {
        "\(word("hit_ratio")) (RAM \(word("hits_ram")), zero \(word("hits_zero")),"
            + " missed \(word("misses")), bypassed \(word("bypassed")))"
    }

    private var uptime: String {
        let seconds = status["uptime"]?.unsigned ?? 0
        func two(_ number: UInt64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let clock =
            "\(two(seconds / 3600 % 24)):\(two(seconds / 60 % 60)):\(two(seconds % 60))"
        return seconds < 86400 ? clock : "\(seconds / 86400) days \(clock)"
    }
}
