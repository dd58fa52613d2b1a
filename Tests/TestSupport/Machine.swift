import CLinux
import Glibc

/// What the machine that runs the tests allows. Suites that need more are skipped with a reason.
package enum Machine {
    /// Whether FUSE file systems can be mounted: root, and /dev/fuse is there.
    package static var canMount: Bool { geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0 }

    /// Forgets clean pages, names and inodes of all file systems (proc(5), drop_caches); open
    /// files keep theirs. Needs root.
    package static func dropCaches() {
        try? Files.overwrite("/proc/sys/vm/drop_caches", with: Array("3".utf8))
    }
}
