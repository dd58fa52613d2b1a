/// The numbers of slots whose requests wait for a thread, first come first served, and how many
/// threads there are for them. The pool's lock protects it.
struct WorkerQueue: Sendable {
    private var places: [Int]
    private var head = 0
    /// Requests that wait for a thread.
    private(set) var count = 0
    /// Requests that a thread works on.
    var running = 0
    /// Threads that wait for a request.
    var idle = 0
    var threads = 0
    /// The most threads.
    private let limit: Int

    init(places: Int, limit: Int) {
        self.places = Array(repeating: 0, count: places)
        self.limit = limit
    }

    mutating func push(_ index: Int) {
        places[(head + count) % places.count] = index
        count += 1
    }

    /// Counts a further thread if the idle ones are too few for what is queued.
    mutating func startsThread() -> Bool {
        guard idle < count, threads < limit else { return false }
        threads += 1
        return true
    }

    /// An idle thread takes the first request; nil when none is left.
    mutating func begin() -> Int? {
        guard let index = pop() else { return nil }
        idle -= 1
        running += 1
        return index
    }

    /// Takes one request out of the middle.
    mutating func remove(_ index: Int) {
        for _ in 0..<count {
            if let other = pop(), other != index { push(other) }
        }
    }

    private mutating func pop() -> Int? {
        guard count > 0 else { return nil }
        let index = places[head]
        head = (head + 1) % places.count
        count -= 1
        return index
    }
}
