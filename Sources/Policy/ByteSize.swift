/// Sizes as users write them: a whole number, and K, M, G or T for powers of 1024.
package enum ByteSize {
    /// Bytes that a text like `512M` or `4096` names; nil when it is no size or does not fit in
    /// 63 bits.
    package static func parse(_ text: some StringProtocol) -> UInt64? {
        var digits = Array(text.utf8)[...]
        guard let last = digits.last else { return nil }
        var shift: UInt64 = 0
        switch last {
        case UInt8(ascii: "K"), UInt8(ascii: "k"): shift = 10
        case UInt8(ascii: "M"), UInt8(ascii: "m"): shift = 20
        case UInt8(ascii: "G"), UInt8(ascii: "g"): shift = 30
        case UInt8(ascii: "T"), UInt8(ascii: "t"): shift = 40
        default: break
        }
        if shift > 0 { digits.removeLast() }
        guard !digits.isEmpty else { return nil }
        var value: UInt64 = 0
        for digit in digits {
            guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
            if overflow || carry { return nil }
            value = sum
        }
        let (bytes, overflow) = value.multipliedReportingOverflow(by: 1 << shift)
        return overflow || bytes > UInt64(Int64.max) ? nil : bytes
    }

    /// The shortest exact text that `parse` reads back: `4G`, `1536M`, `4097`.
    package static func exact(_ bytes: UInt64) -> String {
        for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")]
        where bytes > 0 && bytes & ((1 << UInt64(shift)) - 1) == 0 {
            return "\(bytes >> UInt64(shift))\(unit)"
        }
        return "\(bytes)"
    }

    /// For people: at most one decimal, rounded down: `3.9 GiB`, `512 B`.
    package static func readable(_ bytes: UInt64) -> String {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")]
        where bytes >> UInt64(shift) > 0 {
            let whole = bytes >> UInt64(shift)
            let tenths = ((bytes & ((1 << UInt64(shift)) - 1)) * 10) >> UInt64(shift)
            return "\(whole).\(tenths) \(unit)"
        }
        return "\(bytes) B"
    }
}
