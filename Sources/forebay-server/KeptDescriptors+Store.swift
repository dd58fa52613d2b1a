import ControlPath
import Glibc
import Syscalls

// Under systemd the descriptors are in the manager's keeping too, so that the mount outlives the
// keeper: the unit's next main process is given them and goes on.
extension KeptDescriptors {
    /// Gives them to the service manager, if there is one. What it has already, it ignores.
    func store(lock: Int32?) {
        guard ServiceManager.isMainProcess else { return }
        ServiceManager.store(fuse, as: .fuse)
        ServiceManager.store(slots, as: .slots)
        ServiceManager.store(frames, as: .frames)
        ServiceManager.store(root, as: .root)
        if let lock { ServiceManager.store(lock, as: .lock) }
    }

    /// What a server is told beside the descriptors: to die with a keeper that has a successor.
    /// Where no manager keeps the mount, the server alone goes on with it.
    static var bond: [String] {
        ServiceManager.isMainProcess ? ["--keeper-pid", String(getpid())] : []
    }
}
