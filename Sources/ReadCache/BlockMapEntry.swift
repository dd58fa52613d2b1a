/// What the block map says of a block: a content with the generation that its id had; or of 32
/// neighbouring blocks: which of them are all zero. 16 bytes.
struct BlockMapEntry: BitwiseCopyable {
    /// The spread key.
    private(set) var key: UInt64
    /// 32 bits of content id and 11 bits of generation, or 32 bits for the blocks that are zero;
    /// 19 bits of check; flags at the top. Zero: an empty place.
    private(set) var value: UInt64

    static let empty = BlockMapEntry()
    private static let zeroFlag: UInt64 = 1 << 62
    private static let keepFlag: UInt64 = 1 << 63
    private static let checkShift: UInt64 = 43
    private static let checkMask: UInt64 = 0x7FFFF << checkShift

    private init() {
        key = 0
        value = 0
    }

    init(key: UInt64, content: UInt32, generation: UInt32, keep: Bool) {
        self.key = key
        let flag = keep ? BlockMapEntry.keepFlag : 0
        value = BlockMapEntry.sealed(key, UInt64(content) | UInt64(generation) << 32 | flag)
    }

    /// `zeros`: which of the run's blocks are zero; at least one.
    init(key: UInt64, zeros: UInt32) {
        self.key = key
        value = BlockMapEntry.sealed(key, BlockMapEntry.zeroFlag | UInt64(zeros))
    }

    @inline(__always)
    var content: UInt32 { UInt32(truncatingIfNeeded: value) }
    @inline(__always)
    var generation: UInt32 { UInt32(truncatingIfNeeded: value &>> 32) & 0x7FF }
    @inline(__always)
    var isZero: Bool { value & BlockMapEntry.zeroFlag != 0 }
    /// Which of the run's blocks are zero.
    @inline(__always)
    var zeros: UInt32 {
        get { UInt32(truncatingIfNeeded: value) }
        set { self = BlockMapEntry(key: key, zeros: newValue) }
    }
    @inline(__always)
    var isKept: Bool { value & BlockMapEntry.keepFlag != 0 }
    @inline(__always)
    var isEmpty: Bool { value == 0 }

    /// Whether key and value belong together, as after a server died while it moved entries.
    var isWhole: Bool { BlockMapEntry.sealed(key, value) == value }

    /// The value with its check: remainders by a prime of which 2 is a generator, so that one or
    /// two bits that changed always show, and other changes but for one in 524,269.
    private static func sealed(_ key: UInt64, _ value: UInt64) -> UInt64 {
        let prime: UInt64 = 524_269
        let bare = value & ~checkMask
        let check = (key % prime &* 48_271 &+ bare % prime) % prime
        return bare | check << checkShift
    }
}
