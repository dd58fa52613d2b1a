import Glibc

/// Folders of which the machine's administrator said that they are mounts (fstab(5)).
package enum ExpectedMounts {
    /// Those of a table's lines that `path` lies on, the outermost first. The root does not count,
    /// nor does what Forebay itself mounts.
    package static func above(
        _ path: String, table: String = TextFile.read("/etc/fstab") ?? ""
    ) -> [String] {
        let found = table.split(separator: "\n").compactMap { line -> String? in
            let fields = line.split(whereSeparator: \.isWhitespace)
            guard fields.count >= 3, !fields[0].hasPrefix("#"), fields[1].hasPrefix("/"),
                fields[2] != "forebay"
            else { return nil }
            let folder = AbsolutePath.lexical(MountTable.unescape(fields[1]))
            return folder != "/" && MountTable.isInside(path, folder, orSame: true) ? folder : nil
        }
        return found.sorted { $0.utf8.count < $1.utf8.count }
    }
}
