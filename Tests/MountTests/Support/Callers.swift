import Synchronization
import Syscalls
import TestSupport

/// Threads that call something again and again until they are told to stop.
final class Callers: Sendable {
    private let isStopped = SharedFlag()
    private let found = Mutex<[Errno: Int]>([:])
    private let threads = Mutex<[Thread]>([])

    /// `body` gets the number of its thread and how often that has called it; what it throws is
    /// counted.
    init(_ count: Int, _ body: @escaping @Sendable (Int, Int) throws -> Void) throws {
        for number in 0..<count {
            let thread = try Thread(name: "caller") { [isStopped, self] in
                var calls = 0
                while !isStopped.isSet {
                    calls += 1
                    do {
                        try body(number, calls)
                    } catch {
                        let code = error as? Errno ?? .io
                        found.withLock { $0[code, default: 0] += 1 }
                    }
                }
            }
            threads.withLock { $0.append(thread) }
        }
    }

    /// The errors that came.
    var errors: Set<Errno> { Set(found.withLock { $0.keys }) }

    func stop() {
        isStopped.set()
        let all = threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        for thread in all { thread.join() }
    }
}
