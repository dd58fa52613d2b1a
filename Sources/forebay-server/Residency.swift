import CLinux
import Glibc
import Syscalls

/// What keeps the keeper running when memory is short; its servers inherit all but the lock.
enum Residency {
    /// Does what the machine permits: each is a safeguard, none a condition.
    static func secure() {
        // To clean a page of the mount, memory reclaim must not wait for whoever serves it.
        CLinux_set_io_flusher()
        spare()
        // Code and data that are in memory already: nothing has to be read back from a disk before
        // a server can be replaced.
        mlockall(MCL_CURRENT)
    }

    /// Asks to be the last that the kernel kills for its memory (proc(5)): most of it belongs to
    /// the mount and would not be freed.
    private static func spare() {
        guard let file = try? Descriptor(path: "/proc/self/oom_score_adj", flags: O_WRONLY) else {
            return
        }
        let text = Array("-1000".utf8)
        _ = write(file.raw, text, text.count)
    }
}
