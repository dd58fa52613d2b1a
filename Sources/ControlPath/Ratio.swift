/// Quotients as decimal text, without floating point: the same digits on every machine.
package enum Ratio {
    /// `numerator / denominator` rounded to `decimals` places (at most 6, half up).
    /// `whenEmpty` is the answer for a denominator of 0.
    package static func text(
        _ numerator: UInt64, _ denominator: UInt64, decimals: Int, whenEmpty: String
    ) -> String {
        guard denominator > 0 else { return whenEmpty }
        var scale: UInt64 = 1
        for _ in 0..<min(decimals, 6) { scale *= 10 }
        let whole = numerator / denominator
        // The remainder is smaller than the denominator, so the division of 128 bits fits.
        let product = (numerator % denominator).multipliedFullWidth(by: scale)
        var (part, rest) = denominator.dividingFullWidth(product)
        if rest >= denominator - rest { part += 1 }
        let carried = part == scale ? whole &+ 1 : whole
        let digits = String(part == scale ? 0 : part)
        let zeros = String(repeating: "0", count: max(0, min(decimals, 6) - digits.count))
        return "\(carried).\(zeros)\(digits)"
    }

    /// A number that is not negative, with two decimals; what is no such number is `0.00`.
    package static func text(_ number: Double) -> String {
        let hundredths = number.isFinite ? UInt64(max(0, min(number, 1e9)) * 100 + 0.5) : 0
        return text(hundredths, 100, decimals: 2, whenEmpty: "0.00")
    }
}
