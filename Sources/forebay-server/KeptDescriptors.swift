import CLinux
import FuseServer
import Glibc
import Policy
import Syscalls

/// What a mount lives in, and what must outlive every server: its descriptors, each under the name
/// by which it is passed on.
struct KeptDescriptors {
    /// /dev/fuse, with the kernel's requests.
    let fuse: Int32
    /// Memory of the request slots.
    let slots: Int32
    /// Memory of the RAM tier.
    let frames: Int32
    /// The folder of the datastore: to open it anew would ask a datastore that may hang.
    let root: Int32

    /// The lowest number here: those below are a server's.
    private static let lowest: Int32 = 16

    /// Opens the folder, mounts and makes the memory of a new mount. On a failure nothing is left.
    static func make(_ options: MountOptions, mount: KernelMount) throws(Refusal) -> Self {
        let root: Int32
        do throws(Errno) {
            let folder = try Descriptor(path: options.backing, flags: O_RDONLY | O_DIRECTORY)
            root = raise(folder.release())
        } catch {
            throw Refusal(options.backing, "\(error)")
        }
        let fuse = raise(try mount.mount())
        do throws(Errno) {
            let slots = raise(try RequestSlots.create(format: .standard))
            let frames = raise(
                try SharedMemory.create(name: "forebay-frames", size: options.ram))
            return Self(fuse: fuse, slots: slots, frames: frames, root: root)
        } catch {
            mount.remove()
            throw Refusal("memory of the mount", "\(error)")
        }
    }

    /// Those that an earlier keeper of the same mount left, under the same numbers.
    init(adopting invocation: Invocation) {
        self.init(
            fuse: invocation.fuseDescriptor, slots: invocation.slotsDescriptor,
            frames: invocation.framesDescriptor, root: invocation.rootDescriptor)
        staysOpen(false)
    }

    private init(fuse: Int32, slots: Int32, frames: Int32, root: Int32) {
        self.fuse = fuse
        self.slots = slots
        self.frames = frames
        self.root = root
    }

    /// Whether a program that this process becomes has them too.
    func staysOpen(_ isOpen: Bool) {
        for descriptor in all { _ = fcntl(descriptor, F_SETFD, isOpen ? 0 : FD_CLOEXEC) }
    }

    /// Forgets what the RAM tier holds: the next server finds its memory empty. No server may run.
    func forgetFrames() throws(Errno) { try call { ftruncate(frames, 0) } }

    /// Moves a descriptor out of the numbers that a server's are given.
    static func raise(_ descriptor: Int32) -> Int32 {
        let raised = CLinux_dup_above(descriptor, lowest)
        guard raised >= 0 else { return descriptor }
        close(descriptor)
        return raised
    }

    /// In the order in which a server gets them, from 3.
    var all: [Int32] { [fuse, slots, frames, root] }

    /// The arguments that name them to a server.
    static let arguments = names.enumerated().flatMap { [$1, "\(3 + $0)"] }

    /// The arguments that name them to the next keeper, by the numbers that they have here.
    var ownArguments: [String] { zip(Self.names, all).flatMap { [$0, "\($1)"] } }

    private static let names = ["--fuse-fd", "--slots-fd", "--frames-fd", "--root-fd"]
}
