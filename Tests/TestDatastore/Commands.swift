import Syscalls

/// The commands of the control socket, which the program's flags share. One line each:
///
///     latency OP MICROSECONDS · bandwidth BYTES_PER_SECOND · hang OP on|off ·
///     fail OP ERROR [COUNT] · fail OP none · heal · counts · reset · lease ·
///     volatile on|off · cut SEED
///
/// OP is an operation's name or `all`. `heal` ends every fault, `reset` sets the counters to zero,
/// `lease` ends the datastore when its connection ends. While it is `volatile`, `cut` takes back
/// what was written and not flushed, or a part of it, and answers the number of lost sectors.
struct CommandError: Error { let text: String }

extension Faults {
    /// Runs one command and returns what to answer after `ok`.
    func run(_ line: String) throws(CommandError) -> String {
        let words = String(line).split(separator: " ").map { String($0) }
        switch (words.first ?? "", words.count) {
        case ("latency", 3): try setLatency(words[1], words[2])
        case ("bandwidth", 2): try setBandwidth(words[1])
        case ("hang", 3): try setHang(words[1], words[2])
        case ("fail", 3): try setFailure(words[1], words[2], count: nil)
        case ("fail", 4): try setFailure(words[1], words[2], count: words[3])
        case ("heal", 1): change { $0 = Settings() }
        case ("reset", 1): resetCounters()
        case ("counts", 1): return json()
        case ("volatile", 2): unflushed.turn(on: try isOn(words[1]))
        case ("cut", 2): return try cut(words[1])
        default: throw CommandError(text: "no such command: \(line)")
        }
        return ""
    }

    private func places(_ name: String) throws(CommandError) -> [Int] {
        let operations = Operation.named(name)
        if operations.isEmpty { throw CommandError(text: "no such operation: \(name)") }
        return operations.map(\.index)
    }

    private func setLatency(_ name: String, _ value: String) throws(CommandError) {
        let places = try places(name)
        // A day is the longest: later sums cannot overflow.
        guard let microseconds = UInt64(value), microseconds <= 86_400_000_000 else {
            throw CommandError(text: "not a number of microseconds: \(value)")
        }
        change { for place in places { $0.latency[place] = microseconds } }
    }

    private func setBandwidth(_ value: String) throws(CommandError) {
        // At least 1 KiB/s, so that a transfer ends within a day.
        guard let bytes = UInt64(value), bytes == 0 || bytes >= 1024 else {
            throw CommandError(text: "not 0 and not at least 1024 bytes per second: \(value)")
        }
        change { $0.bandwidth = bytes }
    }

    private func setHang(_ name: String, _ value: String) throws(CommandError) {
        let places = try places(name)
        let isHung = try isOn(value)
        change { for place in places { $0.hung[place] = isHung } }
    }

    private func isOn(_ value: String) throws(CommandError) -> Bool {
        guard value == "on" || value == "off" else {
            throw CommandError(text: "neither on nor off: \(value)")
        }
        return value == "on"
    }

    private func cut(_ value: String) throws(CommandError) -> String {
        guard let seed = UInt64(value) else {
            throw CommandError(text: "not a number: \(value)")
        }
        do throws(Errno) {
            return "\(try unflushed.cut(seed: seed))"
        } catch {
            throw CommandError(text: "cut: \(error)")
        }
    }

    private func setFailure(
        _ name: String, _ error: String, count: String?
    ) throws(CommandError) {
        let places = try places(name)
        var failure: Failure?
        if error != "none" {
            guard let code = ErrorNames.code(error) else {
                throw CommandError(text: "no such error: \(error)")
            }
            failure = Failure(code: code, remaining: nil)
        }
        if let count {
            guard let number = UInt64(count), number > 0, failure != nil else {
                throw CommandError(text: "not a number of failures: \(count)")
            }
            failure?.remaining = number
        }
        change { for place in places { $0.failures[place] = failure } }
    }
}
