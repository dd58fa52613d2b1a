import ControlPath
import Glibc
import Policy
import Syscalls

/// A generator of systemd (systemd.generator(7)): for each /etc/forebay/NAME.toml a drop-in of
/// `forebay@NAME.service` with what the template cannot know: which mounts the datastore lies on,
/// and where the mountpoint is.
enum ServiceGenerator {
    /// `forebay-generator NORMAL EARLY LATE`: the folders to write into, of which files in EARLY
    /// come before the administrator's.
    static func run(_ arguments: [String]) throws(Refusal) {
        guard let folder = arguments.first, folder.hasPrefix("/") else {
            throw .usage("usage", "is for systemd", hint: "see 'systemctl daemon-reload'")
        }
        var datastores = ExpectedMounts.datastores()
        let source =
            getenv("FOREBAY_CONFIGURATION").map { String(cString: $0) } ?? ConfigurationFile.folder
        for file in TextFile.names(in: source).sorted() where file.hasSuffix(".toml") {
            let name = String(file.dropLast(5))
            let path = "\(source)/\(file)"
            guard MountOptionsParser.isName(name), !name.hasSuffix("alerts"),
                let text = TextFile.read(path, limit: 1 << 20)
            else { continue }
            do throws(Refusal) {
                let configuration = try ConfigurationFile(text: text, path: path)
                guard let text = dropIn(configuration) else { continue }
                datastores += configuration.backing.map { [$0] } ?? []
                try write(text, to: "\(folder)/\(Systemctl.unit(name)).d/50-places.conf")
            } catch {
                // The others are not to suffer, nor the boot; the unit itself refuses it too.
                standardError(error.line)
            }
        }
        if arguments.count > 1, !datastores.isEmpty {
            let units = datastores.flatMap { mountUnits(above: AbsolutePath.lexical($0)) }
            try orderExports(after: Set(units), early: arguments[1])
        }
    }

    /// Wants= and not Requires=: a unit whose requirement fails is not tried again. Each try
    /// starts the mounts anew that have failed.
    static func dropIn(_ configuration: ConfigurationFile) -> String? {
        guard let backing = configuration.backing, let mountpoint = configuration.mountpoint else {
            return nil
        }
        let places = [backing] + (configuration.backingMount.map { [$0] } ?? [])
        var units: [String] = []
        for place in places {
            for unit in mountUnits(above: AbsolutePath.lexical(place)) where !units.contains(unit) {
                units.append(unit)
            }
        }
        let above = AbsolutePath.parent(AbsolutePath.lexical(mountpoint))
        var lines = ["# Written by forebay-generator.", "[Unit]"]
        if !units.isEmpty {
            lines.append("Wants=" + units.joined(separator: " "))
            lines.append("After=" + units.joined(separator: " "))
        }
        lines.append("RequiresMountsFor=" + quoted(above))
        return lines.joined(separator: "\n") + "\n"
    }

    /// The units of the mounts that a path may lie on, the root's left out.
    private static func mountUnits(above path: String) -> [String] {
        var units: [String] = []
        var path = path
        while path != "/" {
            units.append(escaped(path) + ".mount")
            path = AbsolutePath.parent(path)
        }
        return units
    }

    /// A path as a unit's name: systemd-escape(1) with `--path`.
    private static func escaped(_ path: String) -> String {
        var result = ""
        let hexadecimal = Array("0123456789abcdef")
        for (index, byte) in path.utf8.dropFirst().enumerated() {
            switch byte {
            case UInt8(ascii: "/"): result += "-"
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: ":"), UInt8(ascii: "_"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: ".") where index > 0: result += "."
            default:
                result += "\\x"
                result.append(hexadecimal[Int(byte >> 4)])
                result.append(hexadecimal[Int(byte & 15)])
            }
        }
        return result
    }

    /// A path as a word of a unit file, where "%" begins a specifier.
    private static func quoted(_ path: String) -> String {
        let text = path.replacing("%", with: "%%").replacing("\\", with: "\\\\")
            .replacing("\"", with: "\\\"")
        return "\"\(text)\""
    }

    /// Writes a file, in a folder that it makes when it is missing.
    static func write(_ text: String, to path: String) throws(Refusal) {
        let folder = AbsolutePath.parent(path)
        if mkdir(folder, 0o755) != 0, errno != EEXIST {
            throw Refusal(folder, "\(Errno.last)")
        }
        do throws(Errno) {
            let file = try Descriptor(
                path: path, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
            let bytes = Array(text.utf8)
            try call { Glibc.write(file.raw, bytes, bytes.count) }
        } catch {
            throw Refusal(path, "\(error)")
        }
    }
}
