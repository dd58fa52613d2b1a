import Synchronization

/// Every content that the tier knows, by id: 32 bytes each, of which 24 are in the memory that
/// outlives the server. Ids start at 1; 0 stands for none.
/// Plain fields have one owner at a time, which the word's state decides:
/// - the fingerprint changes only while the content is in no index;
/// - `frame` is the frame of a live or free content, the ring position of a ghost;
/// - `chain` belongs to the lock of the fingerprint's bucket, `queue` to the eviction lock.
struct ContentTable: BitwiseCopyable, @unchecked Sendable {
    private let fingerprints: UnsafeMutablePointer<Fingerprint>
    let words: UnsafeMutablePointer<Atomic<UInt32>>
    let frames: UnsafeMutablePointer<UInt32>
    let chains: UnsafeMutablePointer<UInt32>
    let queues: UnsafeMutablePointer<UInt32>
    /// The highest id.
    let count: Int

    static func bytes(_ count: Int) -> Int { 2 * Arena.bytes(UInt32.self, count + 1) }

    static func sharedBytes(_ count: Int) -> Int {
        Arena.bytes(Fingerprint.self, count + 1) + 2 * Arena.bytes(UInt32.self, count + 1)
    }

    init(_ arena: inout Arena, shared: inout Arena, count: Int) {
        fingerprints = shared.take(Fingerprint.self, count + 1)
        words = shared.take(Atomic<UInt32>.self, count + 1)
        frames = shared.take(UInt32.self, count + 1)
        chains = arena.take(UInt32.self, count + 1)
        queues = arena.take(UInt32.self, count + 1)
        self.count = count
    }

    /// The fingerprint's high half, of a content that is in the index or may be put there.
    func bucketHash(_ id: UInt32) -> UInt64 { fingerprints[Int(id)].high }

    /// Gives a content its fingerprint. Id and generation are mixed in: a word that changed by
    /// itself does not fit any more.
    func setFingerprint(_ id: UInt32, generation: UInt32, _ fingerprint: Fingerprint) {
        fingerprints[Int(id)] = bound(fingerprint, id, generation)
    }

    /// Whether a content of that generation has this fingerprint.
    @inline(__always)
    func has(_ fingerprint: Fingerprint, _ id: UInt32, generation: UInt32) -> Bool {
        fingerprints[Int(id)].high == fingerprint.high
            && fingerprints[Int(id)] == bound(fingerprint, id, generation)
    }

    private func bound(
        _ fingerprint: Fingerprint, _ id: UInt32, _ generation: UInt32
    ) -> Fingerprint {
        let name = UInt64(id) << 32 | UInt64(generation)
        return Fingerprint(high: fingerprint.high, low: fingerprint.low ^ spread(name))
    }

    @inline(__always)
    func word(_ id: UInt32) -> ContentWord {
        ContentWord(words[Int(id)].load(ordering: .acquiring))
    }

    /// For an id that no other thread can change now.
    func setWord(_ id: UInt32, _ word: ContentWord) {
        words[Int(id)].store(word.bits, ordering: .releasing)
    }

    /// Changes the word if it is still `old`; answers whether it was.
    @inline(__always)
    func change(_ id: UInt32, from old: ContentWord, to new: ContentWord) -> Bool {
        words[Int(id)].compareExchange(
            expected: old.bits, desired: new.bits, ordering: .acquiringAndReleasing
        ).exchanged
    }

    /// Keeps the content's frame from being reused, if it is live and (when given) of that
    /// generation; counts as a hit. Undone by `unpin`.
    @inline(__always)
    func pin(_ id: UInt32, generation: UInt32) -> Bool {
        var old = word(id)
        while old.generation == generation, let new = old.pinned {
            let result = words[Int(id)].weakCompareExchange(
                expected: old.bits, desired: new.bits, successOrdering: .acquiring,
                failureOrdering: .acquiring)
            if result.exchanged { return true }
            old = ContentWord(result.original)
        }
        return false
    }

    @inline(__always)
    func unpin(_ id: UInt32) {
        words[Int(id)].wrappingSubtract(1, ordering: .releasing)
    }

    /// Marks a content of that generation as one to keep, or no longer.
    func setKept(_ id: UInt32, generation: UInt32, _ kept: Bool) {
        var old = word(id)
        while old.generation == generation, old.isCached, old.isKept != kept {
            let new = ContentWord(old.bits ^ ContentWord.keepFlag)
            if change(id, from: old, to: new) { return }
            old = word(id)
        }
    }
}
