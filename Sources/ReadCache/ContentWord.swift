/// Where a content is in its life.
enum ContentState: UInt32 {
    /// Nothing: the id is free.
    case free = 0
    /// It has a frame.
    case live = 1
    /// Only the fingerprint is known; the frame was given to another content.
    case ghost = 2
    /// Nobody may have it any more: the fingerprint is being forgotten, and the id about to be
    /// free; or its frame was found not to have the bytes.
    case dying = 3
    /// Live under an earlier server; whether the frame has the bytes is still to be seen.
    case adopted = 4
}

/// All that changes of a content while others look at it, in one 32-bit word that is changed by
/// compare-and-swap: how many readers hold it, how often it was hit, its state, whether it is to be
/// kept, and the generation of its id. Whoever names a content names the generation too, so that
/// an id can be used again while old block map entries still mention it.
struct ContentWord: BitwiseCopyable, Equatable {
    var bits: UInt32

    /// 15 bits of readers: every request slot can pin one content for each of its blocks.
    static let pinsMask: UInt32 = 0x7FFF
    static let frequencyOne: UInt32 = 1 << 15
    static let frequencyMask: UInt32 = 3 << 15
    static let stateShift: UInt32 = 17
    static let stateMask: UInt32 = 7 << 17
    static let keepFlag: UInt32 = 1 << 20
    static let generationShift: UInt32 = 21

    /// Generations that an id goes through before it starts again.
    static let generations: UInt32 = 1 << 11

    @inline(__always)
    init(_ bits: UInt32) { self.bits = bits }

    @inline(__always)
    init(generation: UInt32, state: ContentState, pins: UInt32 = 0, frequency: UInt32 = 0) {
        bits =
            generation << ContentWord.generationShift
            | state.rawValue << ContentWord.stateShift
            | frequency * ContentWord.frequencyOne | pins
    }

    @inline(__always)
    var generation: UInt32 { bits &>> ContentWord.generationShift }
    @inline(__always)
    var pins: UInt32 { bits & ContentWord.pinsMask }
    @inline(__always)
    var frequency: UInt32 { (bits & ContentWord.frequencyMask) &>> 15 }
    @inline(__always)
    var isKept: Bool { bits & ContentWord.keepFlag != 0 }

    @inline(__always)
    func has(_ state: ContentState) -> Bool {
        bits & ContentWord.stateMask == state.rawValue &<< ContentWord.stateShift
    }

    /// A block map entry that names it is worth keeping.
    @inline(__always)
    var isKnown: Bool { isCached || has(.ghost) }

    /// It has a frame with its bytes, as far as is known.
    @inline(__always)
    var isCached: Bool { has(.live) || has(.adopted) }

    /// The same, in another state.
    func with(_ state: ContentState) -> ContentWord {
        ContentWord(bits & ~ContentWord.stateMask | state.rawValue << ContentWord.stateShift)
    }

    /// The same, with another frequency of at most 3.
    func with(frequency: UInt32) -> ContentWord {
        ContentWord(bits & ~ContentWord.frequencyMask | frequency * ContentWord.frequencyOne)
    }

    /// The same, with one reader more; nil when it has too many.
    var held: ContentWord? { pins < ContentWord.pinsMask ? ContentWord(bits + 1) : nil }

    /// One more reader, one more hit. Nil when it has no frame or too many readers.
    @inline(__always)
    var pinned: ContentWord? {
        guard has(.live), pins < ContentWord.pinsMask else { return nil }
        let hit = frequency < 3 ? ContentWord.frequencyOne : 0
        return ContentWord(bits &+ hit &+ 1)
    }
}
