/// First in, first out: contents linked through the table. Under the eviction lock.
struct ContentQueue {
    private var head: UInt32 = 0
    private var tail: UInt32 = 0
    private(set) var count = 0

    mutating func push(_ id: UInt32, _ contents: ContentTable) {
        contents.queues[Int(id)] = 0
        if tail == 0 {
            head = id
        } else {
            contents.queues[Int(tail)] = id
        }
        tail = id
        count += 1
    }

    mutating func pop(_ contents: ContentTable) -> UInt32? {
        guard head != 0 else { return nil }
        let id = head
        head = contents.queues[Int(id)]
        if head == 0 { tail = 0 }
        count -= 1
        return id
    }
}

/// The ghosts in the order in which they lost their frames. Ids become free only by leaving here,
/// after as many others as the ring has places: that bounds how fast generations advance. Under the
/// eviction lock.
struct GhostRing {
    private let places: UnsafeMutablePointer<UInt32>
    let capacity: Int
    private var first: UInt64 = 0
    private var next: UInt64 = 0
    /// Ghosts in the ring.
    private(set) var count = 0

    init(_ places: UnsafeMutablePointer<UInt32>, capacity: Int) {
        self.places = places
        self.capacity = capacity
    }

    var isFull: Bool { next - first == UInt64(capacity) }
    var isEmpty: Bool { next == first }
    /// Where the next ghost will be.
    var nextPosition: UInt32 { UInt32(next % UInt64(capacity)) }

    mutating func push(_ id: UInt32) {
        places[Int(nextPosition)] = id
        count += 1
        next += 1
    }

    /// The oldest place's ghost; nil for a place that was left.
    mutating func pop() -> UInt32? {
        let place = Int(first % UInt64(capacity))
        first += 1
        let id = places[place]
        places[place] = 0
        if id == 0 { return nil }
        count -= 1
        return id
    }

    /// The ghost lives again.
    mutating func leave(_ id: UInt32, position: UInt32) {
        let place = Int(position)
        guard place < capacity, places[place] == id else { return }
        places[place] = 0
        count -= 1
    }
}
