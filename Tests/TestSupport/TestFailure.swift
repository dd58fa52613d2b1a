import Syscalls

/// Why a helper of the tests could not do what it was asked for.
package struct TestFailure: Error, CustomStringConvertible {
    /// One or more lines for the person who reads the test's output.
    package let description: String

    /// A failure with the text for that person.
    package init(_ description: String) { self.description = description }
}

/// Waits until `condition` holds, looking every 10 ms; false when `seconds` pass first.
package func eventually(
    within seconds: UInt64 = 20, _ condition: () throws -> Bool
) rethrows -> Bool {
    let deadline = monotonicNanoseconds() + .seconds(seconds)
    while true {
        if try condition() { return true }
        if monotonicNanoseconds() > deadline { return false }
        sleep(milliseconds: 10)
    }
}

/// Runs `body` in `count` threads at once, with the numbers 0..<count, and waits for all of them.
/// Throws the first error that one of them threw.
package func concurrently(
    _ count: Int, _ body: @escaping @Sendable (Int) throws -> Void
) throws {
    let failure = Condition<(any Error)?>(nil)
    var threads: [Thread] = []
    for number in 0..<count {
        threads.append(
            try Thread(name: "test \(number)") {
                do {
                    try body(number)
                } catch {
                    failure.withLock { $0 = $0 ?? error }
                }
            })
    }
    for thread in threads { thread.join() }
    if let error = failure.withLock({ $0 }) { throw error }
}
