import ControlPath
import Glibc
import Policy
import Syscalls

/// `forebay mount --foreground`: stays beside the keeper; SIGTERM and SIGINT unmount.
struct Foreground {
    let keeper: pid_t
    let options: MountOptions

    private static var signals: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGCHLD] { sigaddset(&set, signal) }
        return set
    }

    /// Keeps the signals for `stay`; to be called before the keeper starts.
    static func blockSignals() {
        var set = signals
        sigprocmask(SIG_BLOCK, &set, nil)
    }

    /// Returns when the keeper has ended well; throws when it ended otherwise.
    func stay() throws(Refusal) {
        var set = Self.signals
        while true {
            var status: Int32 = 0
            let ended = waitpid(keeper, &status, WNOHANG)
            if ended == keeper {
                _ = RunFolder().remove(options.name)
                if status == 0 { return }
                throw Refusal(
                    "mount of '\(options.mountpoint)'", "the keeper ended unexpectedly",
                    hint: "mount it again")
            }
            // Wakes by itself too, in case a signal was merged with another.
            var interval = timespec(tv_sec: 1, tv_nsec: 0)
            let signal = sigtimedwait(&set, nil, &interval)
            guard signal == SIGTERM || signal == SIGINT else { continue }
            do throws(Refusal) {
                try Unmounter(mountpoint: options.mountpoint, seconds: 60, child: keeper).unmount()
            } catch {
                standardError(error.line)
            }
        }
    }
}
