import Policy

/// Which content loses its frame: S3-FIFO (Yang et al., "FIFO queues are all you need for cache
/// eviction", SOSP 2023). New contents enter a small queue, a tenth of the frames; those that were
/// hit again by the time they reach its end move to the main queue, the others go. A scan thus
/// displaces no more than the small queue. Under the eviction lock.
struct Eviction {
    private let contents: ContentTable
    private var small = ContentQueue()
    private var main = ContentQueue()
    /// Contents to keep, out of the others' way.
    private var kept = ContentQueue()

    /// Hits that lead from the small queue to the main one. A content that was read when it came
    /// starts with one, a content that was only read ahead with none: so that the read that
    /// follows a read-ahead does not count as a second interest.
    static let promotion: UInt32 = 2

    init(_ contents: ContentTable) { self.contents = contents }

    var count: Int { small.count + main.count + kept.count }

    mutating func admit(_ id: UInt32, toMain: Bool) {
        if toMain { main.push(id, contents) } else { small.push(id, contents) }
    }

    /// Takes the next content out of its queue, dying: nobody can pin it any more.
    /// Nil when readers hold all that was looked at.
    mutating func victim(frames: Int) -> UInt32? {
        reviewKept(frames: frames)
        for step in 0..<(4 * Limits.evictionPatience) {
            let patient = step < Limits.evictionPatience
            let fromSmall = small.count > frames / Limits.newcomersDivisor || main.count == 0
            guard let id = fromSmall ? small.pop(contents) : main.pop(contents) else { return nil }
            let word = contents.word(id)
            if word.isKept {
                keep(id, word, frames: frames, fromSmall: fromSmall)
            } else if word.pins != 0 {
                requeue(id, small: fromSmall)
            } else if patient && word.frequency >= (fromSmall ? Eviction.promotion : 1) {
                let frequency = fromSmall ? 0 : word.frequency - 1
                let next = word.with(frequency: frequency)
                // A word that changed meanwhile was hit: no harm if that hit counts as well.
                _ = contents.change(id, from: word, to: next)
                main.push(id, contents)
            } else if contents.change(
                id, from: word, to: ContentWord(generation: word.generation, state: .dying))
            {
                return id
            } else {
                requeue(id, small: fromSmall)
            }
        }
        return nil
    }

    private mutating func requeue(_ id: UInt32, small isSmall: Bool) {
        if isSmall { small.push(id, contents) } else { main.push(id, contents) }
    }

    /// Contents to keep may take half of the frames; the mark of those beyond is taken off.
    private mutating func keep(
        _ id: UInt32, _ word: ContentWord, frames: Int, fromSmall: Bool
    ) {
        if kept.count < frames / Limits.pinnedDivisor {
            kept.push(id, contents)
        } else {
            contents.setKept(id, generation: word.generation, false)
            requeue(id, small: fromSmall)
        }
    }

    /// Looks at the oldest kept contents: whether they are still to be kept, and still few enough.
    private mutating func reviewKept(frames: Int) {
        for _ in 0..<2 {
            guard let id = kept.pop(contents) else { return }
            let word = contents.word(id)
            if word.isKept && kept.count < frames / Limits.pinnedDivisor {
                kept.push(id, contents)
            } else {
                contents.setKept(id, generation: word.generation, false)
                small.push(id, contents)
            }
        }
    }
}
