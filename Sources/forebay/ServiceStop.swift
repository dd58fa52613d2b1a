import ControlPath
import Glibc
import Policy
import Syscalls

/// ExecStop= of the unit. A stop unmounts. A restart only ends the keeper: its descriptors are in
/// systemd's keeping, so the next one goes on with the mount, and no client notices.
struct ServiceStop {
    private let choice: MountChoice
    private let seconds: UInt64
    private let runFolder = RunFolder()

    init(_ choice: MountChoice, seconds: UInt64) {
        self.choice = choice
        self.seconds = seconds
    }

    func run() throws(Refusal) {
        guard let name = choice.name else {
            throw .usage("--service", "needs --name", hint: "leave it out: it is for the unit")
        }
        // Set while the main process lives, and only then.
        if let keeper = getenv("MAINPID").flatMap({ pid_t(String(cString: $0)) }),
            Systemctl.isRestarting(name)
        {
            kill(keeper, SIGKILL)
            return
        }
        // After a plain umount(8) the keeper has ended by itself, and this only tidies up.
        guard runFolder.isTaken(name) else {
            if runFolder.remove(name) { runFolder.forgetAlerts(name) }
            return
        }
        try Unmounter(mountpoint: try choice.path(), seconds: seconds).unmount()
    }
}
