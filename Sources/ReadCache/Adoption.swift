import Policy
import Synchronization
import Syscalls

/// A content of an earlier server, before its frame was looked at.
struct UnprovenContent: BitwiseCopyable {
    let id: UInt32
    let generation: UInt32
}

/// Which frames belong to a content.
struct FrameClaims {
    private var taken: [UInt64]
    private let frames: Int

    init(_ frames: Int) {
        self.frames = frames
        taken = [UInt64](repeating: 0, count: frames / 64 + 1)
    }

    /// Answers false for a frame that is claimed already, or that there is not.
    mutating func claim(_ frame: UInt32) -> Bool {
        guard Int(frame) < frames else { return false }
        let bit: UInt64 = 1 << UInt64(frame % 64)
        if taken[Int(frame / 64)] & bit != 0 { return false }
        taken[Int(frame / 64)] |= bit
        return true
    }
}

extension ContentTable {
    /// Turns the words that an earlier server left into words of this one: nobody holds anything,
    /// contents are still to be proven, what is impossible is free, and the block map will say what
    /// is to be kept. One pass over memory, which requests wait for.
    func adopt(_ geometry: TierGeometry) {
        var claims = FrameClaims(geometry.frames)
        var ghosts = 0
        for id in 1...UInt32(count) {
            let word = word(id)
            let generation = word.generation % geometry.generations
            if word.isCached, claims.claim(frames[Int(id)]) {
                // A dying thread may still be sending what it held: that goes last.
                let frequency = word.pins > 0 ? 3 : word.frequency
                setWord(
                    id,
                    ContentWord(generation: generation, state: .adopted, frequency: frequency))
            } else if word.has(.ghost), ghosts < geometry.ghosts {
                ghosts += 1
                setWord(id, ContentWord(generation: generation, state: .ghost))
            } else {
                // The map is freed of what names it before it is used again.
                setWord(id, ContentWord(generation: generation, state: .free))
            }
        }
    }

    /// The content, if all that it lacks is a look at its frame.
    func unproven(_ id: UInt32, generation: UInt32) -> UnprovenContent? {
        let word = word(id)
        guard word.has(.adopted), word.generation == generation else { return nil }
        return UnprovenContent(id: id, generation: generation)
    }
}

/// What a server does with the contents of the one before it.
extension MemoryTier {
    /// Compares a content's frame with its fingerprint. Answers whether it is live now; one that
    /// is not what it was taken for is forgotten.
    func prove(_ content: UnprovenContent) -> Bool {
        let id = content.id
        while true {
            let word = contents.word(id)
            guard word.generation == content.generation else { return false }
            guard word.has(.adopted), let held = word.held else { return word.has(.live) }
            if contents.change(id, from: word, to: held) { break }
        }
        defer { contents.unpin(id) }
        let fingerprint = key.fingerprint(frameMemory + Int(contents.frames[Int(id)]) * 4096)
        let isRight = contents.has(fingerprint, id, generation: content.generation)
        if !isRight, damaged.wrappingAdd(1, ordering: .relaxed).oldValue == 0 {
            Events.raise(
                .cache, .problem,
                "a block in memory was not what it had been: it is read from the datastore again; "
                    + "the memory of this machine may be failing")
        }
        while true {
            let word = contents.word(id)
            guard word.has(.adopted) else { break }
            var next = word.with(isRight ? .live : .dying)
            if !isRight { next.bits &= ~ContentWord.keepFlag }
            if contents.change(id, from: word, to: next) { break }
        }
        return isRight
    }

    /// Whether contents can be brought in. Hits need not wait for it.
    package var isReady: Bool { ready.load(ordering: .acquiring) }

    /// Waits until contents can be brought in: a second for some ten gigabytes that an earlier
    /// server left, no time at all without one.
    package func waitUntilReady() {
        while !isReady { sleep(milliseconds: 1) }
    }

    /// Makes everything again that an earlier server had in memory of its own.
    func restore() {
        map.adoptAll()
        var restored = withPool { $0 }
        restored.restore(index)
        withPool { $0 = restored }
        ready.store(true, ordering: .releasing)
        settle()
    }
}
