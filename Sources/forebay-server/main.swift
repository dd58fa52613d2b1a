import Glibc
import Policy
import Syscalls

// One program, two processes: `keep` performs the mount and holds what must outlive a server,
// `serve` is the server; `probe` says whether this program could be either for a mount that
// another version serves. `forebay mount` starts the first, which starts the second.
// docs/architecture.md says why they are two.

umask(0)
signal(SIGPIPE, SIG_IGN)
signal(SIGXFSZ, SIG_IGN)

do throws(Refusal) {
    let invocation = try Invocation(arguments: Array(CommandLine.arguments.dropFirst()))
    switch invocation.role {
    case .keep: exit(Keeper(invocation).run())
    case .serve: exit(Server(invocation).run())
    case .probe: exit(Probe.run(invocation))
    }
} catch {
    _ = (error.line + "\n").withCString { write(2, $0, strlen($0)) }
    exit(error.status)
}
