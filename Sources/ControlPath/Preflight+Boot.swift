import Glibc
import Policy

/// What is there after the next start of the machine, and who hears of trouble.
extension Preflight {
    /// A line of fstab(5).
    private struct Line {
        let source: String
        let mountpoint: String
        let type: String
        let options: Set<String>
    }

    private var lines: [Line] {
        (TextFile.read(files.fileSystems) ?? "").split(separator: "\n").compactMap { line in
            let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard fields.count >= 4, !fields[0].hasPrefix("#") else { return nil }
            return Line(
                source: MountTable.unescape(fields[0]), mountpoint: MountTable.unescape(fields[1]),
                type: String(fields[2]),
                options: Set(fields[3].split(separator: ",").map(String.init)))
        }
    }

    /// Whether the datastore's own mount comes back, after the network.
    func backingAtBoot() -> PreflightCheck {
        let name = "backing-boot"
        let subject = "backing '\(options.backing)'"
        guard let entry = table.entry(containing: options.backing), entry.type.hasPrefix("nfs")
        else { return .pass(name, subject, "is not on NFS") }
        let unit = "\(files.enabledUnits)/\(Self.unitName(entry.mountpoint)).mount"
        if Glibc.access(unit, F_OK) == 0 { return .pass(name, subject, "has a unit of systemd") }
        let place = ExportTable.escape(entry.mountpoint)
        guard let line = lines.first(where: { $0.mountpoint == entry.mountpoint }) else {
            return .warn(
                name, subject, "is not in /etc/fstab: it is gone after a restart",
                mend: "add: \(entry.source) \(place) nfs vers=3,hard,_netdev 0 0")
        }
        if line.options.contains("noauto"), !line.options.contains("x-systemd.automount") {
            return .warn(
                name, subject, "has noauto in /etc/fstab: it is gone after a restart",
                mend: "take noauto out of its line")
        }
        guard line.options.contains("_netdev") else {
            return .warn(
                name, subject, "lacks _netdev in /etc/fstab: it may be tried before the network",
                mend: "add _netdev to the options of its line")
        }
        return .pass(name, subject, "is in /etc/fstab")
    }

    /// Whether the mount itself comes back, after the datastore's.
    func mountAtBoot() -> PreflightCheck {
        let name = "mount-boot"
        let subject = "mount at '\(options.mountpoint)'"
        let unit = "forebay@\(options.name).service"
        for folder in TextFile.names(in: files.enabledUnits)
        where folder.hasSuffix(".wants") || folder.hasSuffix(".requires") {
            var status = stat()
            if lstat("\(files.enabledUnits)/\(folder)/\(unit)", &status) == 0 {
                return .pass(name, subject, "\(unit) is enabled")
            }
        }
        let line = lines.first {
            $0.mountpoint == options.mountpoint && $0.type.hasSuffix("forebay")
        }
        guard let line else {
            return .warn(
                name, subject,
                "is neither in /etc/fstab nor an enabled unit: it is gone after a"
                    + " restart, and clients wait",
                mend: "systemctl enable \(unit), or add a line to /etc/fstab")
        }
        guard line.options.contains("_netdev") else {
            return .warn(
                name, subject, "lacks _netdev in /etc/fstab: it may be tried before its datastore",
                mend: "add _netdev,x-systemd.requires-mounts-for=\(options.backing) to its line")
        }
        return .pass(name, subject, "is in /etc/fstab")
    }

    /// The name of a path's unit without its suffix (systemd.unit(5), "string escaping").
    static func unitName(_ path: String) -> String {
        var name = ""
        for byte in path.split(separator: "/").joined(separator: "/").utf8 {
            switch byte {
            case UInt8(ascii: "/"): name += "-"
            case UInt8(ascii: "."): name += name.isEmpty ? "\\x2e" : "."
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: ":"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            default: name += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
        return name.isEmpty ? "-" : name
    }

    /// Whether anybody is told of trouble.
    func alerts() -> PreflightCheck {
        let paths = AlertFile.paths(name: options.name)
        for path in paths {
            var status = stat()
            if stat(files.place(path), &status) == 0, status.st_size > 0 {
                return .pass("alerts", "alerts", "are set up in \(path)")
            }
        }
        let path = paths.last ?? "alerts.toml"
        return .warn(
            "alerts", "alerts", "there is no \(path): nobody is told of trouble",
            mend: "write \(path) and try it with 'forebay alert test'")
    }
}
