import ControlPath
import Journal
import Policy

/// All of a log device, read by `forebay check --log`.
struct LogReading {
    private let path: String
    /// The folder of the datastore, to tell files by their paths; nil: by their numbers.
    private let backing: String?

    /// Files that the text names; the JSON object has all of them.
    private static let shown = 50

    init(_ path: String, backing: String?) {
        self.path = path
        self.backing = backing
    }

    /// Prints what was found; throws when it is damage.
    func report(json: Bool) throws(Refusal) {
        let check = try verify()
        let files = Set(check.files.map(\.file))
        let paths = backing.map { LogFileNames.find(files, below: $0) } ?? [:]
        print(json ? Self.json(check, paths) : Self.text(check, paths))
        guard !check.isDamaged else {
            throw Refusal(
                "'\(path)'", "it is damaged",
                hint: "a mount serves and sends home what can be read of it, and tells the rest")
        }
    }

    private func verify() throws(Refusal) -> LogCheck {
        let place = LogPlace(path)
        let device = try place.open(readOnly: true)
        _ = try place.header(of: device)
        var progress: ProgressBar?
        defer { progress?.finish() }
        do throws(JournalProblem) {
            return try LogCheck(device) { done, all in
                if progress == nil { progress = ProgressBar(total: all) }
                progress?.show(done)
            }
        } catch {
            throw Refusal("'\(path)'", "\(error)")
        }
    }

    // MARK: - What it prints

    private static func json(_ check: LogCheck, _ paths: [UInt64: String]) -> String {
        var writer = JSONWriter()
        writer.add("result", check.isDamaged ? "damaged" : "clean")
        writer.add("owner", check.header.owner)
        writer.add("uuid", hexadecimal(check.header.uuid))
        writer.add("bytes", check.header.size)
        writer.add("records", check.records)
        writer.add("dirty_bytes", check.dirtyBytes)
        writer.add("dirty_files", UInt64(check.files.count))
        writer.add("damaged_headers", UInt64(check.damagedHeaders))
        writer.add("damaged_checkpoints", UInt64(check.damagedCheckpoints))
        writer.add("files", list: check.files.map { json($0, paths[$0.file]) })
        writer.add("damage", list: check.damage.map { json($0) })
        return writer.finish()
    }

    private static func json(_ file: LogCheck.File, _ path: String?) -> String {
        var writer = JSONWriter()
        writer.add("file", String(file.file, radix: 16))
        if let path { writer.add("path", path) }
        writer.add("dirty_bytes", file.bytes)
        writer.add("records", file.records)
        return writer.finish()
    }

    private static func json(_ damage: LogDamage) -> String {
        var writer = JSONWriter()
        writer.add("begin", damage.range.lowerBound)
        writer.add("end", damage.range.upperBound)
        writer.add("what", damage.what)
        return writer.finish()
    }

    private static func text(_ check: LogCheck, _ paths: [UInt64: String]) -> String {
        let owner = check.header.owner.isEmpty ? "no mount" : check.header.owner
        let verdict = check.isDamaged ? "damaged" : "clean"
        var lines = [
            "\(verdict): log of \(owner), \(ByteSize.readable(check.header.size))",
            "  dirty     \(ByteSize.readable(check.dirtyBytes)) of \(check.files.count) files,"
                + " \(check.records) records",
        ]
        for file in check.files.prefix(shown) {
            let name = paths[file.file] ?? "file \(String(file.file, radix: 16))"
            lines.append(
                "            \(ByteSize.readable(file.bytes)) in \(file.records) records, \(name)")
        }
        if check.files.count > shown {
            lines.append("            and \(check.files.count - shown) more, see --json")
        }
        if check.damagedHeaders > 0 {
            lines.append("  headers   \(check.damagedHeaders) of 2 damaged")
        }
        for damage in check.damage {
            let (start, end) = (damage.range.lowerBound, damage.range.upperBound)
            lines.append("  damage    \(damage.what), at \(start) to \(end)")
        }
        return lines.joined(separator: "\n")
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
