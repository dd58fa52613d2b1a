import ControlPath
import Glibc
import Policy
import Syscalls
import TOMLKit

/// A table of a configuration. Each key is asked for by the type that it must have; at the end,
/// keys that nobody asked for are refused. Refusals have exit status 2 and name file and key.
struct ConfigurationSection {
    private let table: TOMLTable
    private let file: String
    /// Name of the table; empty for the file itself.
    private let name: String
    private var asked: Set<String> = []

    /// Reads a whole file's text.
    init(parsing text: String, file: String) throws(Refusal) {
        do {
            table = try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            throw .usage(
                "\(file) line \(error.source.begin.line)", error.description,
                hint: "see https://toml.io")
        } catch {
            throw .usage(file, "cannot be read: \(error)")
        }
        self.file = file
        name = ""
    }

    private init(_ table: TOMLTable, file: String, name: String) {
        self.table = table
        self.file = file
        self.name = name
    }

    /// A refusal of a key's value.
    func refusal(_ key: String, _ why: String, hint: String = "") -> Refusal {
        .usage("\(file): \(name.isEmpty ? "" : "[\(name)] ")\(key)", why, hint: hint)
    }

    private mutating func value(_ key: String) -> (any TOMLValueConvertible)? {
        asked.insert(key)
        return table[key]
    }

    // MARK: - Values

    /// A table in this one; nil when there is none.
    mutating func section(_ key: String) throws(Refusal) -> ConfigurationSection? {
        guard let value = value(key) else { return nil }
        guard let table = value.table else { throw refusal(key, "is no section") }
        return ConfigurationSection(table, file: file, name: key)
    }

    /// A text without control characters; nil when the key is missing.
    mutating func text(_ key: String) throws(Refusal) -> String? {
        guard let value = value(key) else { return nil }
        guard let text = value.string else { throw refusal(key, "is no text in quotation marks") }
        try check(text, key)
        return text
    }

    /// A text that must be there.
    mutating func needed(_ key: String) throws(Refusal) -> String {
        guard let text = try text(key) else { throw refusal(key, "is missing") }
        return text
    }

    /// One of some words.
    mutating func word(_ key: String, of words: [String], else standard: String) throws(Refusal)
        -> String
    {
        let word = try text(key) ?? standard
        guard words.contains(word) else {
            throw refusal(
                key, "is '\(word)'", hint: "use one of \(words.joined(separator: ", "))")
        }
        return word
    }

    /// A whole number in a range.
    mutating func number(
        _ key: String, in range: ClosedRange<Int>, else standard: Int
    ) throws(Refusal) -> Int {
        guard let value = value(key) else { return standard }
        guard let number = value.int, range.contains(number) else {
            throw refusal(
                key, "is no usable number",
                hint: "use \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// True or false.
    mutating func flag(_ key: String, else standard: Bool) throws(Refusal) -> Bool {
        guard let value = value(key) else { return standard }
        guard let flag = value.bool else { throw refusal(key, "is neither true nor false") }
        return flag
    }

    /// A list of texts; nil when the key is missing.
    mutating func texts(_ key: String) throws(Refusal) -> [String]? {
        guard let value = value(key) else { return nil }
        guard let array = value.array else {
            throw refusal(key, "is no list", hint: "write [\"one\", \"two\"]")
        }
        var texts: [String] = []
        for element in array {
            guard let text = element.string else { throw refusal(key, "is no list of texts") }
            try check(text, key)
            texts.append(text)
        }
        return texts
    }

    /// The classes of events that a channel tells: all when the key is missing.
    mutating func classes() throws(Refusal) -> Set<EventClass> {
        guard let words = try texts("classes") else { return Set(EventClass.allCases) }
        // Trying a channel must always be possible.
        var classes: Set<EventClass> = [.test]
        for word in words {
            guard let eventClass = EventClass(rawValue: word) else {
                let known = EventClass.allCases.map(\.rawValue).joined(separator: ", ")
                throw refusal("classes", "'\(word)' is no class of events", hint: "use \(known)")
            }
            classes.insert(eventClass)
        }
        return classes
    }

    /// An absolute path of something that exists.
    mutating func path(_ key: String) throws(Refusal) -> String? {
        guard let path = try text(key) else { return nil }
        guard path.hasPrefix("/") else { throw refusal(key, "is not an absolute path") }
        guard access(path, F_OK) == 0 else { throw refusal(key, "'\(path)': \(Errno.last)") }
        return path
    }

    /// The contents of a file that holds a secret, without the line feed at the end; nil when the
    /// key is missing. Refuses a file that everyone can read.
    mutating func secret(_ key: String) throws(Refusal) -> String? {
        guard let path = try path(key) else { return nil }
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & 0o007 == 0 else {
            throw refusal(key, "'\(path)' is open to everyone", hint: "chmod 600 '\(path)'")
        }
        guard var text = TextFile.read(path, limit: Limits.alertFile), !text.isEmpty else {
            throw refusal(key, "'\(path)' cannot be read or is empty")
        }
        while text.last?.isNewline == true { text.removeLast() }
        guard !text.isEmpty, Self.isPlain(text) else {
            throw refusal(key, "'\(path)' does not hold one line of text")
        }
        return text
    }

    private func check(_ text: String, _ key: String) throws(Refusal) {
        guard !text.isEmpty, Self.isPlain(text) else {
            throw refusal(key, "is empty or holds control characters")
        }
    }

    private static func isPlain(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }

    /// Refuses keys that nobody asked for.
    func finish() throws(Refusal) {
        if let other = table.keys.sorted().first(where: { !asked.contains($0) }) {
            throw refusal(
                other, "is not known", hint: "known are \(asked.sorted().joined(separator: ", "))")
        }
    }
}
