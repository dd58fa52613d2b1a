import Glibc

/// A small random number generator whose whole sequence follows from its seed (Steele, Lea and
/// Flood, "Fast Splittable Pseudorandom Number Generators"), so that a failing test can be
/// repeated.
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// The generator of one sequence; equal seeds give equal sequences.
    package init(seed: UInt64) { state = seed }

    /// A generator with the seed of the environment's FOREBAY_TEST_SEED, or else `usual`, or else a
    /// new one. Prints the seed, so that the run can be repeated.
    package static func announced(
        _ test: String = #function, usual: UInt64? = nil
    ) -> SplitMix64 {
        let given = getenv("FOREBAY_TEST_SEED").flatMap { UInt64(String(cString: $0)) }
        let seed = given ?? usual ?? UInt64.random(in: 0..<1_000_000_000)
        print("\(test): repeat with FOREBAY_TEST_SEED=\(seed)")
        return SplitMix64(seed: seed)
    }

    /// The next 64 bits.
    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// `count` random bytes.
    package mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: (count + 7) / 8 * 8)
        bytes.withUnsafeMutableBytes { buffer in
            for place in stride(from: 0, to: buffer.count, by: 8) {
                buffer.storeBytes(of: next(), toByteOffset: place, as: UInt64.self)
            }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }
}
