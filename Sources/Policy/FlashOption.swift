/// `flash=PATH[:SIZE]`.
package struct FlashOption: Sendable, Equatable {
    /// A block device or a file, absolute.
    package var path: String
    /// Bytes of a file that is made when it is not there; nil: it has to be there.
    package var size: UInt64?

    package init(path: String, size: UInt64? = nil) {
        self.path = path
        self.size = size
    }

    /// Reads what stands behind `flash=`; nil for `none`. What stands behind the last colon is a
    /// size when it is made of letters and digits: names below /dev/disk have colons too, and more
    /// than those behind them. Throws a refusal with exit status 2.
    package static func parse(_ text: String) throws(Refusal) -> FlashOption? {
        if text == "none" { return nil }
        let what = "option 'flash=\(text)'"
        guard text.hasPrefix("/") else {
            throw .usage(what, "is not an absolute path", hint: "begin it with '/', or write none")
        }
        guard !text.hasSuffix("/") else {
            throw .usage(what, "is no device or file", hint: "leave out the slash at its end")
        }
        guard let colon = text.lastIndex(of: ":") else { return FlashOption(path: text) }
        let end = text[text.index(after: colon)...]
        guard end.utf8.allSatisfy(isLetterOrDigit) else { return FlashOption(path: text) }
        guard let size = ByteSize.parse(end) else {
            throw .usage(what, "'\(end)' is not a size", hint: "write for example :200G")
        }
        guard size >= Limits.minimumFlash else {
            throw .usage(
                what, "'\(end)' is too small",
                hint: "use at least \(ByteSize.exact(Limits.minimumFlash));"
                    + " a device whose name ends so has others below /dev/disk")
        }
        return FlashOption(path: String(text[..<colon]), size: size)
    }

    /// What `parse` reads back.
    package var text: String { size.map { "\(path):\(ByteSize.exact($0))" } ?? path }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            true
        default: false
        }
    }
}
