/// `/etc/forebay/NAME.toml`: the keys of the mount options, one `key = value` a line. Of TOML it
/// takes what those need: strings, numbers, `true` and `false`, comments; no tables, no lists.
package enum ConfigurationFile {
    /// Where the file of a mount lies.
    package static func path(name: String) -> String { "/etc/forebay/\(name).toml" }

    /// The options that a text holds, each as it would stand behind `-o`. Throws a refusal with
    /// exit status 2 that names the line.
    package static func options(in text: String, path: String) throws(Refusal) -> [String] {
        var options: [String] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            let place = "\(path) line \(index + 1)"
            if let option = try option(line, place) { options.append(option) }
        }
        return options
    }

    private static func option(
        _ line: Substring, _ place: String
    ) throws(Refusal) -> String? {
        let text = trim(line)
        if text.isEmpty || text.hasPrefix("#") { return nil }
        let advice = "write for example ram = \"8G\""
        guard let equals = text.firstIndex(of: "=") else {
            throw .usage(place, "is not KEY = VALUE", hint: advice)
        }
        let key = trim(text[..<equals])
        guard !key.isEmpty, key.utf8.allSatisfy({ "_-".utf8.contains($0) || isWord($0) }) else {
            throw .usage(place, "has no usable key", hint: advice)
        }
        guard let value = value(trim(text[text.index(after: equals)...])), !value.contains(",")
        else { throw .usage(place, "has no usable value", hint: advice) }
        switch value {
        case "true": return String(key)
        case "false": return nil
        default: return "\(key)=\(value)"
        }
    }

    /// The value without quotation marks and comment; nil when it is none.
    private static func value(_ text: Substring) -> String? {
        guard let quote = text.first else { return nil }
        if quote == "\"" || quote == "'" {
            let inside = text.dropFirst()
            guard let end = inside.firstIndex(of: quote) else { return nil }
            let rest = trim(inside[inside.index(after: end)...])
            let value = inside[..<end]
            guard rest.isEmpty || rest.hasPrefix("#"), !value.contains("\\") || quote == "'" else {
                return nil
            }
            return String(value)
        }
        let bare = trim(text.prefix { $0 != "#" })
        guard !bare.isEmpty,
            bare.utf8.allSatisfy({ $0 == UInt8(ascii: ".") || isWord($0) })
        else { return nil }
        return String(bare)
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
