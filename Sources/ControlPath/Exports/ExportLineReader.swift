/// Reads the words of exports(5) line by line: quotation marks, octal escapes, comments, and lines
/// that go on behind a backslash.
struct ExportLineReader {
    /// The words of a line, without their quotation, and its number, from 1.
    struct Line: Equatable {
        var words: [String] = []
        var number: Int
    }

    private let bytes: [UInt8]
    private var index = 0
    private var number = 1

    init(_ text: String) { bytes = Array(text.utf8) }

    /// The next line that has words; nil at the end.
    mutating func next() -> Line? {
        while index < bytes.count {
            var line = Line(number: number)
            while let word = nextWord() { line.words.append(word) }
            if !line.words.isEmpty { return line }
        }
        return nil
    }

    /// The next word of the line; nil at its end, which is then behind.
    private mutating func nextWord() -> String? {
        while index < bytes.count {
            if bytes[index] == 10 {
                index += 1
                number += 1
                return nil
            }
            if isContinuation {
                index += 2
                number += 1
            } else if bytes[index] == UInt8(ascii: "#") {
                while index < bytes.count, bytes[index] != 10 { index += 1 }
            } else if Self.isSpace(bytes[index]) {
                index += 1
            } else {
                return word()
            }
        }
        return nil
    }

    private mutating func word() -> String {
        var result: [UInt8] = []
        var isQuoted = false
        while index < bytes.count, bytes[index] != 10 {
            let byte = bytes[index]
            if !isQuoted, Self.isSpace(byte) || byte == UInt8(ascii: "#") || isContinuation {
                break
            }
            index += 1
            if byte == UInt8(ascii: "\"") {
                isQuoted.toggle()
            } else if byte == UInt8(ascii: "\\"), let value = octal {
                result.append(value)
                index += 3
            } else {
                result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private var isContinuation: Bool {
        bytes[index] == UInt8(ascii: "\\") && index + 1 < bytes.count && bytes[index + 1] == 10
    }

    /// The value of three octal digits from here.
    private var octal: UInt8? {
        guard index + 3 <= bytes.count,
            bytes[index..<index + 3].allSatisfy({ (48...55).contains($0) })
        else { return nil }
        return UInt8(String(decoding: bytes[index..<index + 3], as: UTF8.self), radix: 8)
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 13 }
}
