import Alerts
import ControlPath
import Glibc
import Policy
import Syscalls

extension MountCommand {
    /// Tells of a mount that failed where nobody reads standard error: when a service manager
    /// asked for it. That the datastore is mounted after all, its keeper tells.
    func alert(of refusal: Refusal) {
        guard foreground, geteuid() == 0, let name = intendedName,
            let configuration = AlertConfiguration.path(name: name)
        else { return }
        let run = RunFolder()
        mkdir(run.path, 0o700)
        do throws(Errno) {
            let delivery = try Delivery(
                name: name, mountpoint: mountpoint.map { AbsolutePath.lexical($0) } ?? "",
                state: run.alerts(name),
                configuration: configuration)
            let text = "the datastore cannot be mounted: \(refusal.what): \(refusal.why)"
            _ = delivery.run([Event(.configuration, .problem, text)])
        } catch {
            SystemLog.error("no alert is delivered: \(run.alerts(name)): \(error)")
        }
    }

    /// The mount's name as far as it can be told when its options may be wrong.
    private var intendedName: String? {
        if let name { return MountOptionsParser.isName(name) ? name : nil }
        let words = options.flatMap { $0.split(separator: ",") }
        let named = words.last { $0.hasPrefix("name=") }?.dropFirst(5)
        let last = backing.flatMap { AbsolutePath.lexical($0).split(separator: "/").last }
        guard let name = (named ?? last).map({ String($0) }), MountOptionsParser.isName(name) else {
            return nil
        }
        return name
    }
}
