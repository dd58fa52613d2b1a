import ControlPath
import FlashTier
import Policy
import Syscalls

/// All of a flash device, read by `forebay check --flash`.
struct FlashReading {
    private let path: String

    init(_ path: String) { self.path = path }

    /// Prints what was found; throws when it is damage.
    func report(json: Bool) throws(Refusal) {
        let check = try verify()
        print(json ? check.json : check.text)
        guard !check.isDamaged else {
            throw Refusal(
                "'\(path)'", "it is damaged",
                hint: "what is damaged is never returned to a client; if it comes again,"
                    + " replace the device")
        }
    }

    private func verify() throws(Refusal) -> FlashCheck {
        let place = FlashPlace(path)
        let device = try place.open(readOnly: true)
        _ = try place.header(of: device)
        var progress: ProgressBar?
        defer { progress?.finish() }
        do throws(Errno) {
            return try FlashCheck(device) { done, all in
                if progress == nil { progress = ProgressBar(total: all) }
                progress?.show(done)
            }
        } catch {
            throw Refusal("'\(path)'", "it cannot be read: \(error)")
        }
    }
}

extension FlashCheck {
    fileprivate var json: String {
        var writer = JSONWriter()
        writer.add("result", isDamaged ? "damaged" : "clean")
        writer.add("owner", header.owner)
        writer.add("in_use", header.isInUse)
        writer.add("bytes", header.blocks * 4096)
        writer.add("contents", contents)
        writer.add("damaged_contents", damagedContents)
        writer.add("damaged_headers", UInt64(damagedHeaders))
        writer.add("damaged_summaries", damagedSummaries)
        writer.add("log_pages", logPages)
        writer.add("damaged_log_pages", damagedLogPages)
        writer.add("unreadable_regions", unreadableRegions)
        return writer.finish()
    }

    fileprivate var text: String {
        let owner = header.owner.isEmpty ? "no mount" : header.owner
        let stop = header.isInUse ? ", not closed: its mount died" : ""
        let size = ByteSize.readable(contents * 4096)
        let rows: [(String, UInt64, String)] = [
            ("contents", contents, "\(damagedContents) damaged (\(size) in all)"),
            ("map log pages", logPages, "\(damagedLogPages) damaged"),
            ("summary pages", damagedSummaries, "damaged"),
            ("headers", UInt64(damagedHeaders), "damaged"),
            ("regions", unreadableRegions, "not readable"),
        ]
        let lines = rows.map { title, number, rest in
            "  \(title)\(String(repeating: " ", count: 18 - title.count))\(number), \(rest)"
        }
        let verdict = isDamaged ? "damaged" : "clean"
        let bytes = ByteSize.readable(header.blocks * 4096)
        return (["\(verdict): flash tier of \(owner), \(bytes)\(stop)"] + lines)
            .joined(separator: "\n")
    }
}
