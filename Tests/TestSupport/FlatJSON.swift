/// The numbers and texts of a JSON text by their keys, whatever object they are in. As much of
/// JSON (RFC 8259) as the project's own outputs need in a test: no escapes but `\"` and `\\`, and
/// the first of equal keys counts.
package struct FlatJSON: Sendable {
    private var values: [String: String] = [:]

    /// Reads a text; what is not understood is skipped.
    package init(_ text: String) {
        var rest = Array(text.utf8)[...]
        var key: String?
        while let byte = rest.first {
            switch byte {
            case UInt8(ascii: "\""):
                let string = Self.string(&rest)
                let isKey = rest.first { $0 > 32 } == UInt8(ascii: ":")
                if isKey { key = string } else { record(string, &key) }
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "a")...UInt8(ascii: "z"):
                let end = rest.firstIndex { ",]} \n\t\r".utf8.contains($0) } ?? rest.endIndex
                record(String(decoding: rest[..<end], as: UTF8.self), &key)
                rest = rest[end...]
            default: rest = rest.dropFirst()
            }
        }
    }

    /// The keys that have a number, a text, true, false or null.
    package var keys: [String] { values.keys.sorted() }

    /// A value as it stands in the text, without quotes.
    package func text(_ key: String) -> String? { values[key] }

    /// A whole number that is not negative.
    package func integer(_ key: String) -> UInt64? { values[key].flatMap { UInt64($0) } }

    /// Any number.
    package func number(_ key: String) -> Double? { values[key].flatMap { Double($0) } }

    private mutating func record(_ value: String, _ key: inout String?) {
        guard let name = key else { return }
        if values[name] == nil { values[name] = value }
        key = nil
    }

    /// Takes a text in quotes off the beginning.
    private static func string(_ rest: inout ArraySlice<UInt8>) -> String {
        var bytes: [UInt8] = []
        var isEscaped = false
        rest = rest.dropFirst()
        while let byte = rest.popFirst() {
            if !isEscaped, byte == UInt8(ascii: "\"") { break }
            isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
            if !isEscaped { bytes.append(byte) }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
