import Glibc

/// The machine's processes (proc(5)).
package enum ProcessTable {
    /// A process and its command line.
    package struct Process: Sendable {
        /// Its number.
        package let pid: Int32
        /// Its command line, the program's name first.
        package let arguments: [String]
    }

    /// Every process that has a command line now: neither threads of the kernel nor the dead that
    /// nobody waited for.
    package static func all() -> [Process] {
        ((try? Files.names("/proc")) ?? []).compactMap { name in
            guard let pid = Int32(name),
                let bytes = try? Files.read("/proc/\(pid)/cmdline"), !bytes.isEmpty
            else { return nil }
            let words = bytes.split(separator: 0, omittingEmptySubsequences: false)
            return Process(
                pid: pid, arguments: words.map { String(decoding: $0, as: UTF8.self) })
        }
    }

    /// Whether a process is there and alive: not a zombie.
    package static func isAlive(_ pid: Int32) -> Bool {
        guard let text = try? Files.text("/proc/\(pid)/stat") else { return false }
        // The state stands behind the name, which is in parentheses and may hold anything.
        guard let end = text.lastIndex(of: ")") else { return false }
        let state = text[end...].dropFirst(2).first
        return state != "Z" && state != "X"
    }
}
