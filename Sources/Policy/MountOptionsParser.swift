import Glibc

/// Turns what a user wrote behind `-o` into `MountOptions`. The same code runs in the command line
/// program, which refuses bad input before anything happens, and in the server, which is given the
/// canonical form (`MountOptions.optionText`).
package struct MountOptionsParser {
    /// Bytes of the machine's memory: the default of `ram=` depends on it.
    private let memory: UInt64
    /// Unknown options are passed over, as mount(8) asks with `-s`.
    private let sloppy: Bool
    private var result: MountOptions
    private var hasRAM = false

    /// Reads options in their order; later ones win, so those of the configuration file come first.
    /// Each of `options` may hold several, separated by commas. `backing` and `mountpoint` are
    /// absolute. Throws a refusal with exit status 2.
    package static func parse(
        backing: String, mountpoint: String, options: [String],
        memory: UInt64 = MountOptionsParser.machineMemory, sloppy: Bool = false
    ) throws(Refusal) -> MountOptions {
        var parser = MountOptionsParser(
            memory: memory, sloppy: sloppy,
            result: MountOptions(
                backing: try path(backing, "backing"),
                mountpoint: try path(mountpoint, "mountpoint"), name: "", state: "", ram: 0))
        for text in options {
            for option in text.split(separator: ",") { try parser.apply(option) }
        }
        return try parser.finish()
    }

    /// Bytes of memory of this machine (sysconf(3)).
    package static var machineMemory: UInt64 {
        let pages = sysconf(Int32(_SC_PHYS_PAGES))
        let size = sysconf(Int32(_SC_PAGESIZE))
        return pages > 0 && size > 0 ? UInt64(pages) * UInt64(size) : 1 << 30
    }

    /// True for a text that may name a mount.
    package static func isName(_ text: some StringProtocol) -> Bool {
        let bytes = text.utf8
        guard (1...64).contains(bytes.count), text != ".", text != ".." else { return false }
        // /etc/forebay/NAME.toml would be a file of the alert channels.
        if text == "alerts" || text.hasSuffix(".alerts") { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
    }

    private init(memory: UInt64, sloppy: Bool, result: MountOptions) {
        self.memory = memory
        self.sloppy = sloppy
        self.result = result
    }

    /// An absolute path without a slash at its end.
    private static func path(_ text: String, _ what: String) throws(Refusal) -> String {
        guard text.hasPrefix("/") else {
            throw .usage("\(what) '\(text)'", "is not an absolute path", hint: "begin it with '/'")
        }
        var text = text[...]
        while text.count > 1, text.last == "/" { text.removeLast() }
        return String(text)
    }

    // MARK: - One option

    private mutating func apply(_ option: Substring) throws(Refusal) {
        let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let key = String(parts[0])
        let value = parts.count == 2 ? String(parts[1]) : nil
        if let flag = MountFlags.byName[key], value == nil {
            result.mountFlags = (result.mountFlags | flag.set) & ~flag.cleared
            return
        }
        if MountFlags.isForOthers(key) { return }
        if key == "discard_log", value == nil {
            result.discardLog = true
            return
        }
        if let reason = MountFlags.refused[key] {
            throw .usage("option '\(option)'", reason.why, hint: reason.hint)
        }
        guard let known = Self.known[key] else {
            if sloppy { return }
            throw .usage("option '\(option)'", "is not known", hint: "see mount.forebay(8)")
        }
        guard let value, !value.isEmpty else {
            throw .usage("option '\(option)'", "needs a value", hint: "write \(key)=\(known)")
        }
        try set(key, value)
    }

    /// The options that take a value, with an example of it.
    private static let known = [
        "name": "NAME", "state": "/var/lib/forebay/NAME", "ram": "8G", "write": "through",
        "attr_timeout": "10", "backend_timeout": "60", "flash": "/dev/nvme0n1",
        "flash_dwpd": "3", "log": "/dev/nvme1n1", "destage_delay": "5", "destage_order": "epoch",
        "dirty_max": "12G",
    ]

    private mutating func set(_ key: String, _ value: String) throws(Refusal) {
        switch key {
        case "name":
            guard Self.isName(value) else {
                throw .usage(
                    "option 'name=\(value)'", "is not a usable name",
                    hint: "use 1 to 64 of A-Z a-z 0-9 . _ -")
            }
            result.name = value
        case "state":
            guard value.hasPrefix("/") else {
                throw .usage(
                    "option 'state=\(value)'", "is not an absolute path",
                    hint: "begin it with '/'")
            }
            result.state = try Self.path(value, "state folder")
        case "ram": try setRAM(value)
        case "flash": result.flash = try FlashOption.parse(value)
        case "flash_dwpd":
            result.flashWritesPerDay = try Self.number(
                key, value, within: 0...Double(Limits.flashWritesPerDay), "drive writes per day")
        case "write", "log", "destage_delay", "destage_order", "dirty_max":
            try result.setJournal(key, value)
        case "attr_timeout":
            result.attributeTimeout = try Self.number(key, value, within: 0...86400, "seconds")
        default:
            result.backendTimeout = try Self.number(key, value, within: 1...86400, "seconds")
        }
    }

    private mutating func setRAM(_ value: String) throws(Refusal) {
        guard let bytes = ByteSize.parse(value) else {
            throw .usage("option 'ram=\(value)'", "is not a size", hint: "write for example 8G")
        }
        guard bytes >= Limits.minimumRAM else {
            throw .usage(
                "option 'ram=\(value)'", "is too small",
                hint: "use at least \(ByteSize.exact(Limits.minimumRAM))")
        }
        guard bytes <= memory else {
            throw .usage(
                "option 'ram=\(value)'",
                "is more than this machine's \(ByteSize.readable(memory)) of memory",
                hint: "use at most half of the memory")
        }
        result.ram = Int(bytes)
        hasRAM = true
    }

    /// A decimal number of something, at most three digits after the point.
    static func number(
        _ key: String, _ value: String, within range: ClosedRange<Double>, _ unit: String
    ) throws(Refusal) -> Double {
        let parts = value.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let isPlain =
            parts.count <= 2
            && parts.allSatisfy { part in
                (1...9).contains(part.count)
                    && part.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            } && (parts.count < 2 || parts[1].count <= 3)
        guard isPlain, let number = Double(value), range.contains(number) else {
            throw .usage(
                "option '\(key)=\(value)'", "is not a number of \(unit)",
                hint: "use \(Int(range.lowerBound)) to \(Int(range.upperBound))")
        }
        return number
    }

    // MARK: - Defaults

    private mutating func finish() throws(Refusal) -> MountOptions {
        if result.name.isEmpty {
            let last = result.backing.split(separator: "/").last ?? ""
            guard Self.isName(last) else {
                throw .usage(
                    "backing '\(result.backing)'", "gives no usable name for the mount",
                    hint: "add the option name=NAME")
            }
            result.name = String(last)
        }
        if result.state.isEmpty { result.state = "/var/lib/forebay/\(result.name)" }
        if !hasRAM {
            let eighth = memory / 8 / (1 << 20) * (1 << 20)
            result.ram = Int(max(Limits.minimumRAM, min(eighth, Limits.defaultRAM)))
        }
        result.readOnly = result.mountFlags & MountFlags.readOnly != 0
        try result.checkJournal()
        return result
    }
}

extension MountOptions {
    /// All options as one text that `MountOptionsParser` reads back to the same value.
    package var optionText: String {
        var parts = [
            "name=\(name)", "state=\(state)", "ram=\(ByteSize.exact(UInt64(ram)))",
            "write=\(write.text)", "attr_timeout=\(attributeTimeout)",
            "backend_timeout=\(backendTimeout)",
        ]
        if let flash { parts += ["flash=\(flash.text)"] }
        parts += ["flash_dwpd=\(flashWritesPerDay)"]
        parts += journalTexts
        parts += MountFlags.names(of: mountFlags)
        return parts.joined(separator: ",")
    }
}
