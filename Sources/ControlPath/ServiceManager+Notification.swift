import CLinux
import Glibc
import Syscalls

/// systemd's notification socket (sd_notify(3)) and its store of descriptors.
extension ServiceManager {
    /// This process was started by a service manager that listens.
    package static var isListening: Bool { getenv("NOTIFY_SOCKET") != nil }

    /// This process is what a unit's ExecStart= became, not something that it started.
    package static var isMainProcess: Bool {
        guard isListening, let number = getenv("SYSTEMD_EXEC_PID") else { return false }
        return pid_t(String(cString: number)) == getpid()
    }

    /// Tells of a change, such as `READY=1`, with descriptors beside it; does nothing where no
    /// manager listens. Answers whether it was sent.
    @discardableResult
    package static func notify(_ text: String, descriptors: [Int32] = []) -> Bool {
        guard let variable = getenv("NOTIFY_SOCKET") else { return false }
        var name = Array(String(cString: variable).utf8)
        // A leading "@" stands for the NUL byte of abstract names.
        if name.first == UInt8(ascii: "@") { name[0] = 0 }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard !name.isEmpty, name.count < MemoryLayout.size(ofValue: address.sun_path) else {
            return false
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let size = UInt32(MemoryLayout<sa_family_t>.size + name.count)
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let raw = socket(AF_UNIX, type, 0)
        guard raw >= 0 else { return false }
        defer { close(raw) }
        let bytes = Array(text.utf8)
        return CLinux_send_descriptors(
            raw, &address, size, bytes, bytes.count, descriptors, Int32(descriptors.count)) >= 0
    }

    /// Says in a few words what the service does; `systemctl status` shows it.
    package static func tell(_ status: String) {
        notify("STATUS=\(status.replacing("\n", with: " "))\n")
    }

    /// Gives a copy of a descriptor into the manager's keeping: the unit's next main process finds
    /// it. FDPOLL=0, because /dev/fuse reports an error once its mount is gone, and who keeps it
    /// decides what that means.
    package static func store(_ descriptor: Int32, as name: KeptName) {
        notify("FDSTORE=1\nFDNAME=\(name.rawValue)\nFDPOLL=0\n", descriptors: [descriptor])
    }

    /// Makes the manager close the one of this name.
    package static func forgetStored(_ name: KeptName) {
        notify("FDSTOREREMOVE=1\nFDNAME=\(name.rawValue)\n")
    }

    /// Makes the manager close what it keeps, and returns when it has: whoever closes last may
    /// have to free gigabytes, and that must not be the manager of the whole machine.
    package static func forgetStored() {
        guard isMainProcess else { return }
        for name in KeptName.allCases { forgetStored(name) }
        awaitManager(milliseconds: 5000)
    }

    /// Returns when everything sent before has been dealt with (sd_notify_barrier(3)).
    private static func awaitManager(milliseconds: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return }
        defer { close(ends[0]) }
        let isSent = notify("BARRIER=1\n", descriptors: [ends[1]])
        close(ends[1])
        guard isSent else { return }
        // The manager closes its copy of the other end: that is the answer.
        var entry = pollfd(fd: ends[0], events: 0, revents: 0)
        _ = poll(&entry, 1, milliseconds)
    }
}

/// What a mount lives in, by the names under which the service manager keeps it.
package enum KeptName: String, CaseIterable, Sendable {
    /// /dev/fuse, with the kernel's requests.
    case fuse
    /// Memory of the request slots.
    case slots
    /// Memory of the RAM tier.
    case frames
    /// The folder of the datastore.
    case root
    /// The lock on the mount's name, whose file says what is mounted where.
    case lock
}
