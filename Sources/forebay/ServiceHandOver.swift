import ControlPath
import Glibc
import Policy
import Syscalls

/// Lets systemd start the keeper of a mount that mount(8), fstab or a user asked for: as a unit of
/// its own it is looked after and outlives even the keeper's death.
struct ServiceHandOver {
    private let options: MountOptions
    private let runFolder = RunFolder()

    init(_ options: MountOptions) { self.options = options }

    /// Whether the mount serves now, as a unit. False when there is no systemd here, no unit of
    /// this very program, or systemd could not start it: nothing is left then.
    func isDone() -> Bool {
        guard Systemctl.isHere, isInstalled,
            let text = try? ConfigurationFile.text(
                backing: options.backing, mountpoint: options.mountpoint,
                options: optionsWithoutName)
        else { return false }
        let unit = Systemctl.unit(options.name)
        let path = runFolder.configuration(options.name)
        guard write(text, to: path) else { return false }
        // At boot this may be the job that others wait for, and they those that the unit waits
        // for: what it needs is there already, so it waits for none.
        let start = ["start", "--quiet", "--job-mode=ignore-dependencies", unit]
        if let result = Systemctl.run(start), result.status == 0 { return true }
        _ = Systemctl.run(["stop", "--quiet", unit])
        unlink(path)
        return false
    }

    private var optionsWithoutName: [String] {
        options.optionText.split(separator: ",").map(String.init)
            .filter { !$0.hasPrefix("name=") }
    }

    /// The unit that systemd knows starts this program, not another version of it.
    private var isInstalled: Bool {
        guard let own = TextFile.link("/proc/self/exe") else { return false }
        let folders = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"]
        for folder in folders {
            let path = "\(folder)/systemd/system/forebay@.service"
            guard let text = TextFile.read(path) else { continue }
            return text.contains("\nExecStart=\(own) ")
        }
        return false
    }

    private func write(_ text: String, to path: String) -> Bool {
        mkdir(runFolder.path, 0o700)
        let flags = O_WRONLY | O_CREAT | O_TRUNC
        guard let file = try? Descriptor(path: path, flags: flags, mode: 0o600) else {
            return false
        }
        let bytes = Array(text.utf8)
        return Glibc.write(file.raw, bytes, bytes.count) == bytes.count
    }
}
