/// `PATH[:SIZE]`: how an option names a device or a file of its own.
struct DevicePath {
    let path: String
    let size: UInt64?

    /// Reads what stands behind `KEY=`; nil for `none`. What stands behind the last colon is a
    /// size when it is made of letters and digits: names below /dev/disk have colons too, and more
    /// than those behind them. Throws a refusal with exit status 2.
    static func parse(
        _ text: String, key: String, minimum: UInt64, example: String
    ) throws(Refusal) -> DevicePath? {
        if text == "none" { return nil }
        let what = "option '\(key)=\(text)'"
        guard text.hasPrefix("/") else {
            throw .usage(what, "is not an absolute path", hint: "begin it with '/', or write none")
        }
        guard !text.hasSuffix("/") else {
            throw .usage(what, "is no device or file", hint: "leave out the slash at its end")
        }
        guard let colon = text.lastIndex(of: ":") else { return DevicePath(path: text, size: nil) }
        let end = text[text.index(after: colon)...]
        guard end.utf8.allSatisfy(isLetterOrDigit) else {
            return DevicePath(path: text, size: nil)
        }
        guard let size = ByteSize.parse(end) else {
            throw .usage(what, "'\(end)' is not a size", hint: "write for example \(example)")
        }
        guard size >= minimum else {
            throw .usage(
                what, "'\(end)' is too small",
                hint: "use at least \(ByteSize.exact(minimum));"
                    + " a device whose name ends so has others below /dev/disk")
        }
        return DevicePath(path: String(text[..<colon]), size: size)
    }

    /// What `parse` reads back.
    static func text(_ path: String, _ size: UInt64?) -> String {
        size.map { "\(path):\(ByteSize.exact($0))" } ?? path
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            true
        default: false
        }
    }
}
