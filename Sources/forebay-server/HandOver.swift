import FuseServer
import Glibc
import Synchronization
import Syscalls

/// The end of a server for the sake of its successor: by an order, or by SIGTERM.
final class HandOver: Sendable {
    private let session: Session
    private let chosen = Mutex(ServerExit.handOver)

    init(_ session: Session) { self.session = session }

    /// The exit status that tells the keeper what comes next.
    var status: ServerExit { chosen.withLock { $0 } }

    /// Ends the session, as far as it is not ending already.
    func begin(_ status: ServerExit) {
        chosen.withLock { if $0 == .handOver { $0 = status } }
        session.handOver()
    }

    private static var signals: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        return set
    }

    /// Keeps SIGTERM for `awaitSignal`; to be called before any thread starts.
    static func blockSignals() {
        var set = signals
        sigprocmask(SIG_BLOCK, &set, nil)
    }

    /// Hands over when SIGTERM comes: the keeper's way to ask for it, and a gentle one for anybody.
    func awaitSignal() throws(Errno) {
        try Thread(name: "signals") { [self] in
            var set = Self.signals
            var number: Int32 = 0
            while true {
                if sigwait(&set, &number) == 0 { begin(.handOver) }
            }
        }.detach()
    }
}
