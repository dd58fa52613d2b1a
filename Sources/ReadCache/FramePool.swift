import Glibc

/// Who has which frame. Every frame belongs to one id that is not a ghost, so that there is always
/// an id for a frame that changes hands, and free frames need no memory of their own. Under the
/// eviction lock.
struct FramePool {
    private let contents: ContentTable
    private let memory: UnsafeMutableRawPointer
    /// Frames in the mapping; the ids up to it start with the frame before them.
    let frames: Int
    var eviction: Eviction
    var ghosts: GhostRing
    /// Free ids with a frame, with a frame that the budget does not allow now, and without one.
    private var free = ContentQueue()
    private var withheld = ContentQueue()
    private var bare = ContentQueue()
    /// The next ids never used: with a frame, and without.
    private var freshFramed: UInt32 = 1
    private var freshBare: UInt32
    private(set) var evictions: UInt64 = 0

    /// A frame that was got, for an id.
    struct Grant {
        let id: UInt32
        /// The frame, nil when there was none: then the id is to be put back.
        let frame: UInt32?
        /// The id still is in the index and has to be removed first.
        let mustRemove: Bool
    }

    init(_ contents: ContentTable, memory: UnsafeMutableRawPointer, frames: Int, ring: GhostRing) {
        self.contents = contents
        self.memory = memory
        self.frames = frames
        eviction = Eviction(contents)
        ghosts = ring
        freshBare = UInt32(frames) + 1
    }

    /// Takes over what an earlier server left, its contents and ghosts: finds them by their
    /// fingerprints again and queues them for eviction, and gives the other frames to free ids.
    /// Nobody else uses pool or index yet, while readers may look at contents.
    mutating func restore(_ index: FingerprintIndex) {
        freshFramed = UInt32(frames) + 1
        freshBare = UInt32(contents.count) + 1
        var claims = FrameClaims(frames)
        var idle = ContentQueue()
        for id in 1...UInt32(contents.count) {
            let word = contents.word(id)
            if word.has(.free) {
                idle.push(id, contents)
                continue
            }
            if word.has(.ghost) {
                contents.frames[Int(id)] = ghosts.nextPosition
                ghosts.push(id)
            } else {
                _ = claims.claim(contents.frames[Int(id)])
                eviction.admit(id, toMain: word.frequency >= Eviction.promotion)
            }
            index.restore(id)
        }
        for frame in 0..<UInt32(frames) where claims.claim(frame) {
            guard let id = idle.pop(contents) else { return }
            contents.frames[Int(id)] = frame
            free.push(id, contents)
        }
        while let id = idle.pop(contents) { bare.push(id, contents) }
    }

    /// Frames that the budget allows now.
    var allowed: Int { frames - withheld.count }
    /// Frames with contents, or on their way to it.
    var inUse: Int { allowed - free.count - max(0, frames - Int(freshFramed) + 1) }

    /// A free frame, or the frame of the content that is least worth keeping.
    mutating func take() -> Grant? {
        if let id = free.pop(contents) { return grant(id) }
        if Int(freshFramed) <= frames {
            let id = freshFramed
            freshFramed += 1
            contents.frames[Int(id)] = id - 1
            return grant(id)
        }
        return evict()
    }

    private func grant(_ id: UInt32) -> Grant {
        Grant(id: id, frame: contents.frames[Int(id)], mustRemove: false)
    }

    /// A content becomes a ghost; its frame goes to a bare id or to the one of the oldest ghost.
    mutating func evict() -> Grant? {
        guard let (carrier, mustRemove) = takeBare() else { return nil }
        guard let victim = eviction.victim(frames: allowed) else {
            return Grant(id: carrier, frame: nil, mustRemove: mustRemove)
        }
        let frame = contents.frames[Int(victim)]
        contents.frames[Int(victim)] = ghosts.nextPosition
        ghosts.push(victim)
        contents.setWord(
            victim, ContentWord(generation: contents.word(victim).generation, state: .ghost))
        evictions &+= 1
        return Grant(id: carrier, frame: frame, mustRemove: mustRemove)
    }

    /// An id without a frame, and a place in the ring for the next ghost.
    private mutating func takeBare() -> (UInt32, mustRemove: Bool)? {
        while true {
            if !ghosts.isFull {
                if let id = bare.pop(contents) { return (id, false) }
                if Int(freshBare) <= contents.count {
                    freshBare += 1
                    return (freshBare - 1, false)
                }
            }
            if ghosts.isEmpty { return nil }
            guard let id = ghosts.pop() else { continue }
            // A ghost that was just brought back may not have left the ring yet.
            let word = contents.word(id)
            guard word.has(.ghost) else { continue }
            let dying = ContentWord(generation: word.generation, state: .dying)
            if contents.change(id, from: word, to: dying) { return (id, true) }
        }
    }

    /// A free id with a frame comes back unused.
    mutating func putBack(_ id: UInt32) { free.push(id, contents) }

    /// A free id without a frame comes back.
    mutating func putBackBare(_ id: UInt32) { bare.push(id, contents) }

    /// A free id with a frame is set aside, its page given back to the kernel.
    mutating func withhold(_ id: UInt32) {
        let page = memory + Int(contents.frames[Int(id)]) * 4096
        madvise(page, 4096, MADV_REMOVE)
        withheld.push(id, contents)
    }

    /// The last frame set aside may be used again. Answers whether there was one.
    mutating func allowOne() -> Bool {
        guard let id = withheld.pop(contents) else { return false }
        free.push(id, contents)
        return true
    }
}
