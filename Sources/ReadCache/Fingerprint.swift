import CHash
import Syscalls

/// What stands for the contents of a block: 128 bits of a keyed cryptographic hash. Two blocks with
/// the same fingerprint are taken for the same, so a guest must not be able to craft one: the key
/// is secret.
package struct Fingerprint: BitwiseCopyable, Hashable, Sendable {
    /// The first 64 bits.
    package var high: UInt64 = 0
    /// The last 64 bits.
    package var low: UInt64 = 0

    /// All zero.
    package init() {}

    /// A fingerprint that was made before, as when it is read from a device.
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// The secret that fingerprints are made with.
package struct FingerprintKey: Sendable {
    private var state = CHash_key()

    /// Bytes of a key.
    package static let length = 64

    /// Takes exactly 64 bytes. Throws EINVAL otherwise.
    package init(_ bytes: [UInt8]) throws(Errno) {
        guard bytes.count == FingerprintKey.length else { throw Errno.invalid }
        CHash_prepare(&state, bytes)
    }

    /// The fingerprint of 4,096 bytes.
    package func fingerprint(_ block: UnsafeRawPointer) -> Fingerprint {
        var result = Fingerprint()
        withUnsafePointer(to: state) { key in
            withUnsafeMutableBytes(of: &result) { bytes in
                CHash_fingerprint(key, block, bytes.baseAddress)
            }
        }
        return result
    }
}

/// A permutation of the 64-bit numbers that spreads neighbours evenly (the finalizer of
/// SplitMix64), so that hash tables can keep the spread number in place of the key and be exact.
@inline(__always)
package func spread(_ number: UInt64) -> UInt64 {
    var value = number
    value = (value ^ (value &>> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value &>> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value &>> 31)
}

/// The inverse of `spread`.
package func gathered(_ spread: UInt64) -> UInt64 {
    var value = spread
    value = (value ^ (value &>> 31) ^ (value &>> 62)) &* 0x3196_42B2_D24D_8EC3
    value = (value ^ (value &>> 27) ^ (value &>> 54)) &* 0x96DE_1B17_3F11_9089
    return value ^ (value &>> 30) ^ (value &>> 60)
}

/// A number below `count` that is as evenly spread as the high bits of `hash` are.
@inline(__always)
package func scaled(_ hash: UInt64, _ count: Int) -> Int {
    Int(truncatingIfNeeded: hash.multipliedFullWidth(by: UInt64(truncatingIfNeeded: count)).high)
}
