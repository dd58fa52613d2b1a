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

    /// Reads what stands behind `flash=`; nil for `none` (`DevicePath.parse`). Throws a refusal
    /// with exit status 2.
    package static func parse(_ text: String) throws(Refusal) -> FlashOption? {
        try DevicePath.parse(text, key: "flash", minimum: Limits.minimumFlash, example: ":200G")
            .map { FlashOption(path: $0.path, size: $0.size) }
    }

    /// What `parse` reads back.
    package var text: String { DevicePath.text(path, size) }
}
