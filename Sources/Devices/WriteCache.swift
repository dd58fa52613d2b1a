import CLinux
import Glibc
import Syscalls

/// What the kernel says of the write cache of a block device (queue/write_cache in
/// Documentation/ABI/stable/sysfs-block).
package enum WriteCache {
    /// Whether the kernel says that what a block device has written stays written when the power
    /// fails: "write through". `device` is its number (st_rdev). A partition asks its disk.
    package static func isAbsent(device: UInt64) -> Bool {
        let (major, minor) = (CLinux_device_major(device), CLinux_device_minor(device))
        let folder = "/sys/dev/block/\(major):\(minor)"
        let text = text("\(folder)/queue/write_cache") ?? text("\(folder)/../queue/write_cache")
        return text.map(isAbsent(text:)) ?? false
    }

    /// Whether the text of the kernel's file says so.
    package static func isAbsent(text: String) -> Bool {
        text.split(separator: "\n").first == "write through"
    }

    private static func text(_ path: String) -> String? {
        guard let file = try? Descriptor(path: path, flags: O_RDONLY) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 64)
        guard let count = try? call({ read(file.raw, &bytes, 64) }) else { return nil }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
