import Synchronization

/// Finds contents by fingerprint: chains through the content table, about two contents each, under
/// locks that each guard many chains.
struct FingerprintIndex: BitwiseCopyable, @unchecked Sendable {
    private let contents: ContentTable
    private let heads: UnsafeMutablePointer<UInt32>
    private let buckets: Int
    private let locks: LockArray
    private let generations: UInt32

    /// What became of a content that was offered.
    enum Publication {
        /// It is in the index now, with the offered id, live and pinned once.
        case added
        /// The same content is live already under this id; that one was pinned.
        case present(UInt32)
        /// A ghost of this id had the fingerprint; it took over the frame, is live and pinned
        /// once. The position is where the ring of ghosts still has it.
        case revived(UInt32, position: UInt32)
        /// The same content has so many readers that it cannot be pinned.
        case crowded
    }

    static func buckets(_ contents: Int) -> Int { contents / 2 + 1 }

    static func bytes(contents: Int, locks: Int) -> Int {
        Arena.bytes(UInt32.self, buckets(contents)) + LockArray.bytes(locks)
    }

    init(_ arena: inout Arena, contents: ContentTable, geometry: TierGeometry) {
        self.contents = contents
        generations = geometry.generations
        buckets = FingerprintIndex.buckets(contents.count)
        heads = arena.take(UInt32.self, buckets)
        self.locks = LockArray(&arena, geometry.indexLocks)
    }

    func destroy() { locks.destroy() }

    private func bucket(_ hash: UInt64) -> Int { scaled(hash, buckets) }

    /// The live content with this fingerprint, pinned; 0 when there is none. `unproven`: one that
    /// has it, but was not compared with its frame yet.
    func pin(_ fingerprint: Fingerprint, unproven: inout UnprovenContent?) -> UInt32 {
        let bucket = bucket(fingerprint.high)
        locks.lock(bucket % locks.count)
        defer { locks.unlock(bucket % locks.count) }
        var id = heads[bucket]
        while id != 0 {
            let word = contents.word(id)
            if contents.has(fingerprint, id, generation: word.generation) {
                if word.has(.live), contents.pin(id, generation: word.generation) { return id }
                if word.has(.adopted) {
                    unproven = UnprovenContent(id: id, generation: word.generation)
                }
            }
            id = contents.chains[Int(id)]
        }
        return 0
    }

    /// Offers a content whose bytes are in the frame of `id`, which no other thread knows.
    func publish(
        _ fingerprint: Fingerprint, _ id: UInt32, frequency: UInt32
    ) -> Publication {
        let bucket = bucket(fingerprint.high)
        locks.lock(bucket % locks.count)
        defer { locks.unlock(bucket % locks.count) }
        var other = heads[bucket]
        while other != 0 {
            if contents.has(fingerprint, other, generation: contents.word(other).generation),
                let found = join(other, frame: contents.frames[Int(id)])
            {
                return found
            }
            other = contents.chains[Int(other)]
        }
        let generation = contents.word(id).generation
        contents.setFingerprint(id, generation: generation, fingerprint)
        link(id, bucket)
        contents.setWord(
            id, ContentWord(generation: generation, state: .live, pins: 1, frequency: frequency))
        return .added
    }

    private func link(_ id: UInt32, _ bucket: Int) {
        contents.chains[Int(id)] = heads[bucket]
        heads[bucket] = id
    }

    /// Finds a content of an earlier server again. Nobody else uses the index yet.
    func restore(_ id: UInt32) { link(id, bucket(contents.bucketHash(id))) }

    /// What offering a frame means for a content that has the same fingerprint; nil when that one
    /// is being forgotten.
    private func join(_ id: UInt32, frame: UInt32) -> Publication? {
        while true {
            let word = contents.word(id)
            if word.has(.live) {
                if contents.pin(id, generation: word.generation) { return .present(id) }
                if word.pins == ContentWord.pinsMask { return .crowded }
                continue
            }
            guard word.has(.ghost) else { return nil }
            // The frame is in place before the word says so. Should the ghost be forgotten in
            // between, then nobody looks at the field any more.
            let position = contents.frames[Int(id)]
            contents.frames[Int(id)] = frame
            let live = ContentWord(generation: word.generation, state: .live, pins: 1)
            if contents.change(id, from: word, to: live) {
                return .revived(id, position: position)
            }
        }
    }

    /// Takes a dying content out and makes its id free, of the next generation. Its frame field
    /// stays as it is.
    func remove(_ id: UInt32) {
        let bucket = bucket(contents.bucketHash(id))
        locks.lock(bucket % locks.count)
        defer { locks.unlock(bucket % locks.count) }
        let next = contents.chains[Int(id)]
        if heads[bucket] == id {
            heads[bucket] = next
        } else {
            var previous = heads[bucket]
            while previous != 0, contents.chains[Int(previous)] != id {
                previous = contents.chains[Int(previous)]
            }
            if previous != 0 { contents.chains[Int(previous)] = next }
        }
        contents.chains[Int(id)] = 0
        let generation = (contents.word(id).generation &+ 1) % generations
        contents.setWord(id, ContentWord(generation: generation, state: .free))
    }
}
