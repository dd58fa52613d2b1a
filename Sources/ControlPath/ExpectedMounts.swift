import Glibc

/// Folders of which the machine's administrator said that they are mounts (fstab(5)).
package enum ExpectedMounts {
    /// Those of a table's lines that `path` lies on, the outermost first. The root does not count,
    /// nor does what Forebay itself mounts.
    package static func above(
        _ path: String, table: String = TextFile.read("/etc/fstab") ?? ""
    ) -> [String] {
        let found = lines(table).compactMap { fields -> String? in
            guard fields[1].hasPrefix("/"), fields[2] != "forebay" else { return nil }
            let folder = AbsolutePath.lexical(MountTable.unescape(fields[1]))
            return folder != "/" && MountTable.isInside(path, folder, orSame: true) ? folder : nil
        }
        return found.sorted { $0.utf8.count < $1.utf8.count }
    }

    /// The datastores that a table's lines accelerate.
    package static func datastores(
        table: String = TextFile.read("/etc/fstab") ?? ""
    ) -> [String] {
        lines(table).compactMap { fields in
            fields[2] == "forebay"
                ? AbsolutePath.lexical(MountTable.unescape(fields[0])) : nil
        }
    }

    /// The fields of each line that describes a mount: source, folder, type and more.
    private static func lines(_ table: String) -> [[Substring]] {
        table.split(separator: "\n").map { $0.split(whereSeparator: \.isWhitespace) }
            .filter { $0.count >= 3 && !$0[0].hasPrefix("#") }
    }
}
