import Glibc
import Syscalls

/// What an earlier main process of the unit gave into the service manager's keeping, as the
/// manager passes it on (sd_listen_fds(3), FileDescriptorStoreMax= of systemd.service(5)).
package struct StoredDescriptors: Sendable {
    private let numbers: [Int32]
    private let byName: [KeptName: Int32]

    /// The descriptors that were passed to this process, and none a second time: the environment
    /// forgets them, so that no child takes them for its own.
    package static func take() -> StoredDescriptors {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        defer { for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) } }
        guard variable("LISTEN_PID").flatMap({ pid_t($0) }) == getpid(),
            let count = variable("LISTEN_FDS").flatMap({ Int32($0) }), (1...1024).contains(count)
        else { return StoredDescriptors(numbers: [], names: []) }
        let names = (variable("LISTEN_FDNAMES") ?? "")
            .split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        // They begin behind standard error.
        return StoredDescriptors(numbers: Array(3..<3 + count), names: names)
    }

    init(numbers: [Int32], names: [String]) {
        self.numbers = numbers
        var found: [KeptName: Int32] = [:]
        for (number, text) in zip(numbers, names) {
            if let name = KeptName(rawValue: text) { found[name] = number }
        }
        byName = found
    }

    package var isEmpty: Bool { numbers.isEmpty }

    /// The descriptor of a name; nil when it is not there.
    package subscript(name: KeptName) -> Int32? { byName[name] }

    /// They are one of each, and the kernel still has the mount that they belong to.
    package var isAlive: Bool {
        guard numbers.count == KeptName.allCases.count, byName.count == numbers.count,
            let fuse = byName[.fuse]
        else { return false }
        var entry = pollfd(fd: fuse, events: Int16(POLLIN), revents: 0)
        // Of a mount that was unmounted or aborted, the device reports an error (fuse_dev_poll).
        return poll(&entry, 1, 0) >= 0 && entry.revents & Int16(POLLERR | POLLNVAL) == 0
    }

    /// What is mounted where, as the lock file says; nil when it does not.
    package var mount: RunFolder.Mount? {
        guard let lock = byName[.lock],
            let text = TextFile.read("/proc/self/fd/\(lock)", limit: 65536)
        else { return nil }
        return RunFolder.Mount(text: text)
    }

    /// Closes all of them, here and at the manager's.
    package func discard() {
        guard !isEmpty else { return }
        for number in numbers { close(number) }
        ServiceManager.forgetStored()
    }
}
