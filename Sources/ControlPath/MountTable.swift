/// The mounts that this process sees (/proc/self/mountinfo, proc(5)).
package struct MountTable: Sendable {
    package struct Entry: Equatable, Sendable {
        package let id: String
        /// `major:minor` of the file system.
        package let device: String
        package let mountpoint: String
        package let options: [String]
        package let type: String
        package let source: String
        package let superOptions: [String]
    }

    /// In the order of the kernel: later entries cover earlier ones at the same place.
    package let entries: [Entry]

    /// The table of this moment; empty when /proc is not there.
    package static func current() -> MountTable {
        MountTable(parsing: TextFile.read("/proc/self/mountinfo") ?? "")
    }

    /// Lines that are not understood are left out.
    package init(parsing text: String) {
        entries = text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ", omittingEmptySubsequences: false)
            guard let dash = fields.dropFirst(6).firstIndex(of: "-"), fields.count > dash + 3
            else { return nil }
            return Entry(
                id: String(fields[0]), device: String(fields[2]),
                mountpoint: Self.unescape(fields[4]),
                options: fields[5].split(separator: ",").map(String.init),
                type: String(fields[dash + 1]), source: Self.unescape(fields[dash + 2]),
                superOptions: fields[dash + 3].split(separator: ",").map(String.init))
        }
    }

    /// The mount that is seen at exactly this place.
    package func entry(at path: String) -> Entry? { entries.last { $0.mountpoint == path } }

    /// The mount that a path lies on.
    package func entry(containing path: String) -> Entry? {
        var best: Entry?
        for entry in entries where Self.isInside(path, entry.mountpoint, orSame: true) {
            if entry.mountpoint.utf8.count >= best?.mountpoint.utf8.count ?? 0 { best = entry }
        }
        return best
    }

    /// The mounts below a folder, not the one at it.
    package func entries(below folder: String) -> [Entry] {
        entries.filter { Self.isInside($0.mountpoint, folder, orSame: false) }
    }

    /// True when the absolute `path` lies in the absolute `folder`, by name.
    package static func isInside(_ path: String, _ folder: String, orSame: Bool) -> Bool {
        if path == folder { return orSame }
        return path.hasPrefix(folder == "/" ? "/" : folder + "/")
    }

    /// Space, tab, line feed and backslash stand as three octal digits behind a backslash.
    static func unescape(_ text: Substring) -> String {
        guard text.utf8.contains(UInt8(ascii: "\\")) else { return String(text) }
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "\\"), index + 3 < bytes.count,
                let value = UInt8(
                    String(decoding: bytes[index + 1...index + 3], as: UTF8.self), radix: 8)
            {
                result.append(value)
                index += 4
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
