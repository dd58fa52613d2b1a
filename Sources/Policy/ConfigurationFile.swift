/// `/etc/forebay/NAME.toml`: what is mounted where, and the mount options, one `key = value` a
/// line. Of TOML it takes what those need: strings, whole and decimal numbers, `true` and `false`,
/// comments. Everything else is refused with the number of its line, never passed over.
package struct ConfigurationFile: Equatable, Sendable {
    /// The folder of the datastore; nil when the file does not say.
    package private(set) var backing: String?
    /// Where the accelerated datastore appears; nil when the file does not say.
    package private(set) var mountpoint: String?
    /// A folder that is a mount, or the datastore is not there; nil when the file does not say.
    package private(set) var backingMount: String?
    /// The mount options, each as it would stand behind `-o`.
    package private(set) var options: [String] = []

    private var keys: Set<String> = []

    /// The folder of the configuration.
    package static let folder = "/etc/forebay"

    /// Where the file of a mount lies.
    package static func path(name: String) -> String { "\(folder)/\(name).toml" }

    /// Reads a text; `path` is for the refusal, which has exit status 2 and names the line.
    package init(text: String, path: String) throws(Refusal) {
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            try read(line, "\(path) line \(index + 1)")
        }
    }

    /// The options that a text holds, likewise.
    package static func options(in text: String, path: String) throws(Refusal) -> [String] {
        try ConfigurationFile(text: text, path: path).options
    }

    /// A file with these contents, which `init` reads back. Throws a refusal for a value that no
    /// such file can hold.
    package static func text(
        backing: String, mountpoint: String, options: [String]
    ) throws(Refusal) -> String {
        var lines = [("backing", backing), ("mountpoint", mountpoint)]
        for option in options {
            let parts = option.split(separator: "=", maxSplits: 1)
            lines.append((String(parts[0]), parts.count > 1 ? String(parts[1]) : ""))
        }
        var text = ""
        for (key, value) in lines {
            guard !value.contains("'"), !value.utf8.contains(where: { $0 < 32 }) else {
                throw .usage("\(key) '\(value)'", "cannot stand in a configuration file")
            }
            text += value.isEmpty ? "\(key) = true\n" : "\(key) = '\(value)'\n"
        }
        return text
    }

    // MARK: - One line

    private static let advice = "write for example ram = \"8G\""

    private mutating func read(_ line: Substring, _ place: String) throws(Refusal) {
        let text = Self.trim(line)
        if text.isEmpty || text.hasPrefix("#") { return }
        if text.hasPrefix("[") {
            throw .usage(place, "begins a table, and there are none here", hint: Self.advice)
        }
        guard let equals = text.firstIndex(of: "=") else {
            throw .usage(place, "is not KEY = VALUE", hint: Self.advice)
        }
        let key = String(Self.trim(text[..<equals]))
        guard !key.isEmpty, key.utf8.allSatisfy({ "_-".utf8.contains($0) || Self.isWord($0) })
        else { throw .usage(place, "has no usable key", hint: Self.advice) }
        guard keys.insert(key).inserted else {
            throw .usage(place, "gives \(key) a second time", hint: "leave one of them out")
        }
        let value = try Self.value(Self.trim(text[text.index(after: equals)...]), place)
        try set(key, value, place)
    }

    private mutating func set(
        _ key: String, _ value: Value, _ place: String
    ) throws(Refusal) {
        switch key {
        case "backing": backing = try Self.folder(value, place)
        case "mountpoint": mountpoint = try Self.folder(value, place)
        case "backing_mount": backingMount = try Self.folder(value, place)
        case "name":
            throw .usage(place, "names the mount", hint: "its name is that of the file")
        default:
            switch value {
            case .flag(true): options.append(key)
            case .flag(false): break
            case .text(let text):
                guard !text.contains(",") else {
                    throw .usage(place, "has a comma in its value", hint: Self.advice)
                }
                options.append("\(key)=\(text)")
            }
        }
    }

    private static func folder(_ value: Value, _ place: String) throws(Refusal) -> String {
        guard case .text(let text) = value, text.hasPrefix("/") else {
            throw .usage(place, "is not an absolute path", hint: "begin it with '/'")
        }
        return text
    }

    // MARK: - Values

    private enum Value {
        case text(String)
        case flag(Bool)
    }

    /// The value without quotation marks and comment.
    private static func value(_ text: Substring, _ place: String) throws(Refusal) -> Value {
        guard let quote = text.first else {
            throw .usage(place, "has no value", hint: advice)
        }
        if quote == "\"" || quote == "'" { return .text(try quoted(text, quote, place)) }
        let bare = trim(text.prefix { $0 != "#" })
        if bare == "true" { return .flag(true) }
        if bare == "false" { return .flag(false) }
        let parts = bare.split(separator: ".", omittingEmptySubsequences: false)
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard parts.count <= 2,
            parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { digits.contains($0) } })
        else {
            throw .usage(place, "has no usable value", hint: "put text in quotation marks")
        }
        return .text(String(bare))
    }

    private static func quoted(
        _ text: Substring, _ quote: Character, _ place: String
    ) throws(Refusal) -> String {
        let inside = text.dropFirst()
        guard let end = inside.firstIndex(of: quote) else {
            throw .usage(place, "has no closing quotation mark", hint: advice)
        }
        let rest = trim(inside[inside.index(after: end)...])
        guard rest.isEmpty || rest.hasPrefix("#") else {
            throw .usage(place, "goes on behind its value", hint: advice)
        }
        let value = inside[..<end]
        if quote == "\"", value.contains("\\") {
            throw .usage(
                place, "has a backslash in its value",
                hint: "put it in single quotation marks, where it stands for itself")
        }
        return String(value)
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func trim(_ text: Substring) -> Substring {
        var text = text
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return text
    }
}
