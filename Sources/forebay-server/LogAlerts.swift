import ControlPath
import DataPath
import Glibc
import Policy
import Syscalls

/// Looks at the journal each second and raises what an administrator should know.
enum LogAlerts {
    /// Starts the thread, which lives as long as the process. A mount without a log needs none.
    static func start(_ datastore: Datastore, _ options: MountOptions) throws(Errno) {
        guard options.log != nil else { return }
        try Thread(name: "log-alerts") {
            var watch = LogWatch(dirtyAge: LogWatch.dirtyAge(name: options.name))
            while true {
                sleep(milliseconds: 1000)
                guard let report = datastore.logReport() else { continue }
                let now = monotonicNanoseconds() / .seconds(1)
                for event in watch.look(at: report, now: now) { Events.raise(event) }
            }
        }.detach()
    }
}
