import CLinux
import Glibc
import Policy
import Syscalls

/// The mount as the kernel knows it.
struct KernelMount {
    let options: MountOptions

    /// Opens /dev/fuse and mounts it: type `fuse.forebay`, source BACKING. The kernel checks
    /// permissions (`default_permissions`) for all users (`allow_other`). Answers the descriptor,
    /// on which the kernel's requests wait from now on. Throws what failed.
    func mount() throws(Refusal) -> Int32 {
        let device: Int32
        do throws(Errno) {
            device = try call { CLinux_open("/dev/fuse", O_RDWR | O_CLOEXEC, 0) }
        } catch {
            throw Refusal("/dev/fuse", "\(error)", hint: "load the fuse module")
        }
        let data =
            "fd=\(device),rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,"
            + "max_read=\(Limits.requestSize)"
        do throws(Errno) {
            try call {
                CLinux_mount(
                    options.backing, options.mountpoint, "fuse.forebay", options.mountFlags, data)
            }
        } catch {
            close(device)
            throw Refusal("mount \(options.mountpoint)", "\(error)")
        }
        return device
    }

    /// Takes the mount away when its server could not be started, or when the kernel has ended
    /// the connection and only the empty shell is left.
    func remove() { CLinux_unmount(options.mountpoint, CLinux_MNT_DETACH) }

    /// The mount is there, but its connection has ended (by a write to its `abort` file).
    var isDead: Bool {
        var status = stat()
        return stat(options.mountpoint, &status) != 0 && errno == ENOTCONN
    }
}
