import ControlPath
import Glibc
import Policy
import Syscalls

/// Sends each message as an SNMP trap or inform, by the program snmptrap(1) of net-snmp. Secrets
/// go to it in a file that only root can read, never in its arguments.
struct TrapChannel: AlertChannel {
    let name = "snmp"
    let classes: Set<EventClass>
    private let program: String
    /// Arguments that say to whom and how.
    private let addressing: [String]
    /// The receiver judges messages by the clock of this machine's engine.
    private let hasClock: Bool
    /// The lines of an snmp.conf(5).
    private let secrets: [String]

    /// Where Debian and others have the program; the configuration may name another.
    private static let standardProgram = "/usr/bin/snmptrap"

    init(_ section: inout ConfigurationSection) throws(Refusal) {
        program = try section.path("program") ?? Self.standardProgram
        let version = try section.word("version", of: ["2c", "3"], else: "2c")
        let receiver = try section.needed("receiver")
        guard receiver.utf8.first != UInt8(ascii: "-"), !receiver.contains(" ") else {
            throw section.refusal("receiver", "'\(receiver)' is no name or address of a host")
        }
        let port = try section.number("port", in: 1...65535, else: 162)
        let isInform = try section.flag("inform", else: false)
        // A version 6 address: its colons are not those before a port.
        let host = receiver.contains(":") ? "udp6:[\(receiver)]" : "udp:\(receiver)"
        var arguments = ["-v", version, "-m", "", "-r", "2", "-t", "2"]
        if isInform { arguments.append("-Ci") }
        hasClock = version == "3" && !isInform
        if version == "2c" {
            guard let community = try section.secret("community_file") else {
                throw section.refusal("community_file", "is missing")
            }
            secrets = ["defCommunity \(Self.quoted(community))"]
        } else {
            secrets = try Self.user(&section)
            if !isInform { arguments += ["-e", try Self.engine(&section)] }
        }
        addressing = arguments + ["\(host):\(port)"]
        classes = try section.classes()
    }

    /// The user of version 3 (RFC 3414): always with authentication and privacy.
    private static func user(
        _ section: inout ConfigurationSection
    ) throws(Refusal) -> [String] {
        let user = try section.needed("user")
        let authentication = try section.word(
            "auth_protocol", of: ["SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512", "MD5"],
            else: "SHA")
        let privacy = try section.word("privacy_protocol", of: ["AES", "DES"], else: "AES")
        var lines = ["defSecurityName \(quoted(user))", "defSecurityLevel authPriv"]
        lines += ["defAuthType \(authentication)", "defPrivType \(privacy)"]
        for (key, word) in [
            ("auth_password_file", "defAuthPassphrase"),
            ("privacy_password_file", "defPrivPassphrase"),
        ] {
            guard let secret = try section.secret(key) else {
                throw section.refusal(key, "is missing")
            }
            guard secret.utf8.count >= 8 else {
                throw section.refusal(key, "holds fewer than 8 characters")
            }
            lines.append("\(word) \(quoted(secret))")
        }
        return lines
    }

    /// A trap's receiver knows the user by the engine of the sender (RFC 3411, section 5).
    private static func engine(_ section: inout ConfigurationSection) throws(Refusal) -> String {
        let engine = try section.needed("engine_id")
        let digits = engine.hasPrefix("0x") ? engine.dropFirst(2) : engine[...]
        let isHexadecimal = digits.utf8.allSatisfy {
            "0123456789abcdefABCDEF".utf8.contains($0)
        }
        guard isHexadecimal, (10...64).contains(digits.utf8.count), digits.utf8.count % 2 == 0
        else {
            throw section.refusal(
                "engine_id", "is not 5 to 32 bytes", hint: "for example 0x80001f8804666f7265626179")
        }
        return "0x\(digits)"
    }

    private static func quoted(_ text: String) -> String {
        var escaped = text.replacing("\\", with: "\\\\")
        escaped.replace("\"", with: "\\\"")
        return "\"\(escaped)\""
    }

    // MARK: - Sending

    func send(_ alert: Alert, milliseconds: UInt64) throws(AlertFailure) {
        let folder: TrapFolder
        do throws(Errno) {
            folder = try TrapFolder(mount: alert.mount, settings: secrets)
        } catch {
            throw AlertFailure("a folder for the settings of snmptrap cannot be made: \(error)")
        }
        // The receiver takes each message of an engine for a replay that is older than the one
        // before: time must not begin anew with each process, nor with each start of the machine.
        let clock =
            hasClock ? ["-Z", "\(1 + alert.time >> 30),\(alert.time & (1 << 30 - 1))"] : []
        let environment = [
            "PATH=/usr/bin:/bin", "SNMPCONFPATH=\(folder.path)", "MIBS=",
            "SNMP_PERSISTENT_DIR=\(folder.path)",
        ]
        try ChildProgram(
            program, clock + addressing + Self.objects(alert), environment: environment
        ).run(milliseconds: milliseconds)
    }

    /// `UPTIME TRAP-OID OBJECT TYPE VALUE …`, as FOREBAY-MIB has them.
    private static func objects(_ alert: Alert) -> [String] {
        let states: [EventState: Int] = [.problem: 1, .recovered: 2, .notice: 3]
        let state = states[alert.event.state] ?? 3
        var arguments = ["", "\(root).0.\(state)"]
        let texts = [
            alert.mount, alert.mountpoint, alert.host, alert.event.eventClass.rawValue,
        ]
        for (index, text) in texts.enumerated() {
            arguments += ["\(root).1.\(index + 1).0", "s", text]
        }
        arguments += ["\(root).1.5.0", "i", "\(state)"]
        arguments += ["\(root).1.6.0", "s", alert.event.text]
        arguments += ["\(root).1.7.0", "u", "\(min(alert.suppressed, UInt64(UInt32.max)))"]
        // DateAndTime of SNMPv2-TC: year, month, day, hour, minute, second, tenths, zone.
        let parts = alert.time("%Y %m %d %H %M %S").split(separator: " ").compactMap { Int($0) }
        let year = parts.first ?? 1970
        let octets = [year >> 8, year & 255] + parts.dropFirst() + [0, 0x2b, 0, 0]
        let hexadecimal = octets.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        arguments += ["\(root).1.8.0", "x", hexadecimal.joined()]
        return arguments
    }

    /// forebayMIB below netSnmpPlaypen, which net-snmp keeps for private use.
    private static let root = ".1.3.6.1.4.1.8072.9999.9999.20049"
}

/// A folder for one run of snmptrap, gone with the object.
private final class TrapFolder {
    let path: String
    private var file: String { "\(path)/snmp.conf" }

    init(mount: String, settings: [String]) throws(Errno) {
        let run = RunFolder()
        if mkdir(run.path, 0o700) != 0 && errno != EEXIST { throw .last }
        var template = Array(run.scratch(mount).utf8CString)
        guard mkdtemp(&template) != nil else { throw .last }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let text = settings.map { $0 + "\n" }.joined()
        let output = try Descriptor(path: file, flags: O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        let (raw, bytes) = (output.raw, Array(text.utf8))
        try call { write(raw, bytes, bytes.count) }
    }

    deinit { RunFolder.removeScratch(path) }
}
