import ControlPath
import Glibc
import Syscalls

/// systemctl(1).
enum Systemctl {
    /// systemd runs this machine (sd_booted(3)), and this process sees the mounts that it sees.
    static var isHere: Bool {
        access("/run/systemd/system", F_OK) == 0
            && TextFile.link("/proc/self/ns/mnt") == TextFile.link("/proc/1/ns/mnt")
    }

    /// Runs it to its end; the exit status and what it printed. nil when it cannot be started.
    static func run(_ arguments: [String]) -> (status: Int32, output: String)? {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        let reader = Descriptor(owning: ends[0])
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_addclose(&actions, ends[1])
        var words = (["systemctl", "--no-ask-password"] + arguments).map { strdup($0) }
        words.append(nil)
        defer { for word in words { free(word) } }
        var child: pid_t = 0
        let code = posix_spawnp(&child, "systemctl", &actions, nil, words, environ)
        close(ends[1])
        guard code == 0 else { return nil }
        let output = TextFile.read("/proc/self/fd/\(reader.raw)", limit: 1 << 20) ?? ""
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        // WIFEXITED and WEXITSTATUS of wait(2).
        return (status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f), output)
    }

    /// The unit of a mount.
    static func unit(_ name: String) -> String { "forebay@\(name).service" }

    /// systemd is stopping the unit in order to start it again.
    static func isRestarting(_ name: String) -> Bool {
        let jobs = run(["list-jobs", "--no-legend", "--plain"])?.output ?? ""
        return jobs.split(separator: "\n").contains { line in
            let fields = line.split(separator: " ")
            return fields.count > 2 && fields[1] == unit(name) && fields[2] == "restart"
        }
    }
}
