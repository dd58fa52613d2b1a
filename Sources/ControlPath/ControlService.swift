import DataPath
import Glibc
import Passthrough
import Policy
import Syscalls

/// Answers the request lines of the control socket: `status`, `flush [PATH]`,
/// `flush-within SECONDS [PATH]`, `drop [PATH]`, `quiesce SECONDS`, `set KEY=VALUE…`,
/// `bypass on|off`, `upgrade`.
/// A PATH is relative to the mount and begins with a slash or is left out for all of it. Answers
/// are one JSON object; a failed request has the member `error`.
package struct ControlService: Sendable {
    private let datastore: any ControlledDatastore
    private let facts: ServerFacts
    private let server: (any ServerOrders)?
    /// Orders under way. They may wait for the datastore for ever; `status` must get through.
    private let orders = Condition(0)

    /// Without a `server` the orders to it are not known.
    package init(
        datastore: any ControlledDatastore, facts: ServerFacts, server: (any ServerOrders)? = nil
    ) {
        self.datastore = datastore
        self.facts = facts
        self.server = server
    }

    /// The answer to one line (without its line feed). Runs on a thread of the control socket and
    /// may wait for the datastore.
    package func answer(_ line: String) -> ControlAnswer {
        let words = line.split(separator: " ").map(String.init)
        if words.first == "quiesce" { return quiesce(words.dropFirst()) }
        do throws(Refusal) {
            guard let server, let verb = words.first else { return ControlAnswer(text(line)) }
            let arguments = Array(words.dropFirst())
            switch (verb, arguments) {
            case ("set", _): return Self.done(try server.set(arguments))
            case ("bypass", ["on"]), ("bypass", ["off"]):
                return Self.done(try server.bypass(arguments == ["on"]))
            case ("upgrade", []): return Self.done(try server.upgrade())
            default: return ControlAnswer(text(line))
            }
        } catch {
            return ControlAnswer(Self.refusal(error))
        }
    }

    private static func done(_ result: OrderResult) -> ControlAnswer {
        var writer = JSONWriter()
        writer.add("done", true)
        for (name, text) in result.members { writer.add(name, text) }
        return ControlAnswer(writer.finish(), afterwards: result.afterwards)
    }

    private static func refusal(_ refusal: Refusal) -> String {
        var writer = JSONWriter()
        writer.add("error", refusal.why)
        writer.add("what", refusal.what)
        writer.add("hint", refusal.hint)
        writer.add("status", UInt64(clamping: refusal.status))
        return writer.finish()
    }

    private func text(_ line: String) -> String {
        let parts = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        let path = parts.count == 2 ? String(parts[1]) : ""
        do throws(Errno) {
            switch parts.first ?? "" {
            case "status" where path.isEmpty: return try status()
            case "flush":
                return try order { () throws(Errno) in try datastore.flushAll(try node(path)) }
            case "flush-within": return try flush(within: path)
            case "drop":
                return try order { () throws(Errno) in try datastore.drop(try node(path)) }
            default: return Self.failure("unknown request")
            }
        } catch {
            return Self.failure(error.description, code: error.code)
        }
    }

    /// An answer that says that a request failed; `code` is the error number, 0 for none.
    package static func failure(_ text: String, code: Int32 = 0) -> String {
        var writer = JSONWriter()
        writer.add("error", text)
        writer.add("errno", UInt64(clamping: code))
        return writer.finish()
    }

    /// `SECONDS [PATH]`: a flush that gives up in time.
    private func flush(within text: String) throws(Errno) -> String {
        let parts = text.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        guard let seconds = Self.seconds(parts.first ?? "") else { throw .invalid }
        let deadline = monotonicNanoseconds() + .seconds(seconds)
        return try order { () throws(Errno) in
            let node = try node(parts.count == 2 ? String(parts[1]) : "")
            try datastore.flushAll(node, deadline: deadline)
        }
    }

    private static func seconds(_ text: some StringProtocol) -> UInt64? {
        guard let seconds = UInt64(text), (1...86400).contains(seconds) else { return nil }
        return seconds
    }

    /// Brings everything home, and holds changes back until the client says so or is gone.
    private func quiesce(_ arguments: ArraySlice<String>) -> ControlAnswer {
        do throws(Errno) {
            guard arguments.count == 1, let seconds = Self.seconds(arguments.first ?? "") else {
                throw .invalid
            }
            let deadline = monotonicNanoseconds() + .seconds(seconds)
            let text = try order { () throws(Errno) in
                try datastore.quiesce(deadline: deadline)
            }
            guard text == Self.isDone else { return ControlAnswer(text) }
            let limit = seconds + Limits.quiesceMargin
            return ControlAnswer(
                text,
                hold: ControlHold(seconds: limit) { [datastore] isByClient in
                    datastore.release()
                    if isByClient { return Self.isDone }
                    let text = "the datastore was released after \(limit) s: its client took longer"
                    Events.raise(.log, .notice, text)
                    return Self.failure(text)
                })
        } catch {
            return ControlAnswer(Self.failure(error.description, code: error.code))
        }
    }

    private static let isDone = #"{"done":true}"#

    private func order(_ body: () throws(Errno) -> Void) throws(Errno) -> String {
        let hasRoom = orders.withLock { count in
            guard count < Limits.controlOrders else { return false }
            count += 1
            return true
        }
        guard hasRoom else { return Self.failure("too many orders wait for the datastore") }
        defer { orders.withLock { $0 -= 1 } }
        try body()
        return Self.isDone
    }

    private func node(_ path: String) throws(Errno) -> NodeID {
        guard !path.utf8.contains(0), path.utf8.count < Int(PATH_MAX) else { throw .invalid }
        return try datastore.resolve(path: path)
    }

    private func status() throws(Errno) -> String {
        // Everything here comes from memory: the state of a datastore that hangs can be asked for.
        WaitMode.set(mayWait: false)
        defer { WaitMode.set(mayWait: true) }
        let options = facts.options
        let report = datastore.report()
        var writer = JSONWriter()
        writer.add("name", options.name)
        writer.add("backing", options.backing)
        writer.add("mountpoint", options.mountpoint)
        writer.add("state", options.state)
        writer.add("options", options.optionText)
        writer.add("read_only", options.readOnly)
        writer.add("bypass", facts.bypass.text)
        let snapshot = Snapshot(
            statistics: try datastore.statistics(of: .root), datastore: report, facts: facts)
        writer.add(snapshot, isRoot: true)
        writer.add("keeper_pid", UInt64(clamping: facts.keeper))
        writer.add("server_pid", UInt64(clamping: getpid()))
        writer.add("program", TextFile.link("/proc/self/exe") ?? "")
        writer.add("last_pause", json: Self.seconds(facts.lastPause))
        writer.add("ram_budget_bytes", report.budgetBytes)
        writer.add("ram_bookkeeping_bytes", report.bookkeepingBytes)
        writer.add("evictions", report.evictions)
        if let text = TextFile.read("/proc/self/status"),
            let memory = ServerMemory(
                processStatus: text, report: report, slotsBytes: facts.slotsBytes)
        {
            writer.add("ram_resident_bytes", memory.tier)
            writer.add("server_resident_bytes", memory.resident)
            writer.add("server_beyond_ram_bytes", memory.beyondTier)
        }
        if let flash = report.flash {
            writer.add("flash_path", flash.path)
            writer.add("flash_writes_per_day_limit", json: Ratio.text(flash.writesPerDayLimit))
        }
        if let log = report.log {
            writer.add("log_path", log.path)
            writer.add("log_poisoned", log.isPoisoned)
            if !log.lastLoss.isEmpty { writer.add("log_last_loss", log.lastLoss) }
        }
        writer.add("inodes", report.inodes)
        writer.add("descriptors", report.descriptors)
        var requests = JSONWriter()
        for request in facts.fuseRequests { requests.add(request.name, request.count) }
        writer.add("fuse_requests", json: requests.finish())
        return writer.finish()
    }

    /// Nanoseconds as decimal seconds.
    private static func seconds(_ nanoseconds: UInt64) -> String {
        Ratio.text(nanoseconds, 1_000_000_000, decimals: 3, whenEmpty: "0.000")
    }
}
