/// Builds one JSON object, key by key, in the order of the calls.
package struct JSONWriter: Sendable {
    private var text = "{"
    private var isFirst = true

    package init() {}

    /// Adds a text.
    package mutating func add(_ key: String, _ value: String) {
        begin(key)
        Self.quote(value, into: &text)
    }

    /// Adds a whole number.
    package mutating func add(_ key: String, _ value: UInt64) {
        begin(key)
        text += String(value)
    }

    /// Adds true or false.
    package mutating func add(_ key: String, _ value: Bool) {
        begin(key)
        text += value ? "true" : "false"
    }

    /// Adds a value that is JSON already: a decimal number, an object, a list.
    package mutating func add(_ key: String, json: String) {
        begin(key)
        text += json
    }

    /// Adds a list of values that are JSON already.
    package mutating func add(_ key: String, list: [String]) {
        add(key, json: "[" + list.joined(separator: ",") + "]")
    }

    /// The whole object, on one line.
    package func finish() -> String { text + "}" }

    private mutating func begin(_ key: String) {
        if !isFirst { text += "," }
        isFirst = false
        Self.quote(key, into: &text)
        text += ":"
    }

    /// A text in quotation marks, with what JSON does not allow inside them escaped (RFC 8259,
    /// section 7).
    package static func quoted(_ value: String) -> String {
        var text = ""
        quote(value, into: &text)
        return text
    }

    private static func quote(_ value: String, into text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            default:
                if scalar.value < 32 || scalar.value == 127 {
                    let hex = String(scalar.value, radix: 16)
                    text += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                } else {
                    text.unicodeScalars.append(scalar)
                }
            }
        }
        text += "\""
    }
}
