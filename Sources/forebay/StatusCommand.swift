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

    @Flag(help: "Only whether all data is on the datastore; exit status 1 when it is not.")
    var home = false

    @Flag(
        help: ArgumentHelp(
            "Open every file to see what the kernel's page cache holds of it.",
            discussion: "Takes a request or two for each file, and waits for the datastore."))
    var pageCache = false

    /// Milliseconds that a server may take to answer.
    static let patience: UInt64 = 5000

    func execute() throws(Refusal) {
        guard geteuid() == 0 else {
            throw Refusal("permission", "only root may ask a server", hint: "use sudo")
        }
        if home { return try tellHome() }
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
        print(try text(mount))
    }

    private func text(_ mount: MountedDatastore) throws(Refusal) -> String {
        var status = try ask(mount)
        if pageCache {
            // Each file would wait for the datastore in turn.
            if let health = status["health"]?.plain, health.hasPrefix("away") {
                throw Refusal(
                    "page cache of '\(mount.mountpoint)'", "it is \(health)",
                    hint: "leave out --page-cache until it answers")
            }
            status.add(try PageCache(of: mount))
        }
        return json ? status.json : StatusTable(status).text
    }

    /// One line for each mount, and a refusal for those that need their log.
    private func tellHome() throws(Refusal) {
        guard !json, !pageCache else {
            throw .usage("--home", "stands alone", hint: "leave out --json and --page-cache")
        }
        var mounts = MountedDatastore.all()
        if let mountpoint { mounts = [try .find(mountpoint)] }
        var away: [String] = []
        for mount in mounts {
            let isHome = try ask(mount)["all_data_home"] == .flag(true)
            print("\(mount.mountpoint): all data home: \(isHome ? "yes" : "no")")
            if !isHome { away.append(mount.mountpoint) }
        }
        guard let first = away.first else { return }
        throw Refusal(
            "'\(first)'", "data is in the log that is not on the datastore",
            hint: "'forebay flush \(first)' brings it home")
    }

    private func showAll() throws(Refusal) {
        var objects: [String] = []
        var failure: Refusal?
        for mount in MountedDatastore.all() {
            do throws(Refusal) {
                objects.append(try text(mount))
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

extension JSONValue {
    /// Adds what was found as members of the status.
    fileprivate mutating func add(_ found: PageCache) {
        guard case .object(var members) = self else { return }
        let numbers = [
            ("page_cache_bytes", found.bytes), ("page_cache_files", found.files),
            ("page_cache_known_files", found.known),
            ("page_cache_unreadable_files", found.unreadable),
        ]
        members += numbers.map { (key: $0.0, value: .number(String($0.1))) }
        self = .object(members)
    }
}
