import ControlPath
import Glibc
import Policy
import Syscalls

/// Starts the keeper of a mount and waits until the mount serves.
struct Mounter {
    let options: MountOptions
    private let expectedMounts: [String]
    /// The datastore is served without its flash tier when that cannot be used.
    private let isUnattended: Bool
    private let runFolder = RunFolder()
    private var subject: String { "mount of '\(options.mountpoint)'" }

    /// Milliseconds until the keeper must have said that it serves, or why not.
    private static let patience: UInt64 = 90_000

    /// `isUnattended`: nobody reads a refusal, and machines wait for the datastore.
    init(_ request: MountRequest, isUnattended: Bool = false) {
        options = request.options
        expectedMounts = request.expectedMounts
        self.isUnattended = isUnattended
    }

    /// Mounts; returns when the mount serves, or with `foreground` when it is gone. On a refusal
    /// nothing is mounted and nothing is left.
    func mount(foreground: Bool) throws(Refusal) {
        let made = try prepare()
        if !foreground, ServiceHandOver(options).isDone() { return }
        let keeper: pid_t
        do throws(Refusal) {
            keeper = try start(foreground: foreground)
        } catch {
            made.takeBack()
            throw error
        }
        if foreground { try Foreground(keeper: keeper, options: options).stay() }
    }

    /// What `prepare` has made and a mount that fails takes back.
    struct Preparation {
        var flash: FlashChoice?
        var log: LogChoice.Outcome?

        func takeBack() {
            flash?.takeBack()
            log?.takeBack()
        }
    }

    /// Refuses what cannot be mounted, and makes the state folder and the files of flash and log.
    /// Answers those that were not there before.
    @discardableResult
    func prepare() throws(Refusal) -> Preparation {
        let preflight = Preflight(options: options, expectedMounts: expectedMounts)
        if let refusal = preflight.refusal() { throw refusal }
        try makeStateFolder()
        var made = Preparation()
        made.log = try prepareLog()
        do throws(Refusal) {
            made.flash = try prepareFlash()
        } catch {
            made.takeBack()
            throw error
        }
        return made
    }

    private func prepareLog() throws(Refusal) -> LogChoice.Outcome {
        let outcome = try LogChoice(options).prepare(isUnattended: isUnattended)
        guard !outcome.warning.isEmpty else { return outcome }
        SystemLog.warning(outcome.warning)
        if !isUnattended { standardError("forebay: warning: \(outcome.warning)") }
        return outcome
    }

    private func prepareFlash() throws(Refusal) -> FlashChoice? {
        guard let flash = FlashChoice(options) else { return nil }
        do throws(Refusal) {
            return try flash.prepare() ? flash : nil
        } catch {
            guard isUnattended else { throw error }
            // The server finds out too, tells everyone, and looks for the device again.
            SystemLog.warning("\(error.what): \(error.why)")
            return nil
        }
    }

    private func start(foreground: Bool) throws(Refusal) -> pid_t {
        let program = try ServerProgram.find()
        let lock = try takeName()
        if foreground { Foreground.blockSignals() }
        do throws(Refusal) {
            // From then on only the keeper and the server hold the lock.
            let keeper = try start(program, lock: lock.raw, foreground: foreground)
            discard(lock)
            return keeper
        } catch {
            discard(lock)
            removeFiles()
            throw error
        }
    }

    /// Takes the mount's name, for as long as the descriptor or a copy of it is open.
    func takeName() throws(Refusal) -> Descriptor {
        do throws(Errno) {
            return try runFolder.take(
                RunFolder.Mount(
                    name: options.name, mountpoint: options.mountpoint, backing: options.backing,
                    options: options.optionText))
        } catch {
            if error == Errno(EWOULDBLOCK) {
                throw Refusal(
                    "name '\(options.name)'", "is in use",
                    hint: "choose another with the option name=")
            }
            throw Refusal(runFolder.path, "\(error)", hint: "see whether /run can be written")
        }
    }

    private func discard(_ descriptor: consuming Descriptor) {}

    private func makeStateFolder() throws(Refusal) {
        var path = ""
        for part in options.state.split(separator: "/") {
            path += "/\(part)"
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
                throw Refusal(
                    "state folder '\(options.state)'", "cannot be made: \(Errno.last)",
                    hint: "choose another with the option state=")
            }
        }
    }

    // MARK: - The keeper

    private func start(
        _ program: String, lock: Int32, foreground: Bool
    ) throws(Refusal) -> pid_t {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Refusal(subject, "\(Errno.last)") }
        let reader = Descriptor(owning: ends[0])
        let writer = Descriptor(owning: ends[1])
        let keeper: pid_t
        do throws(Errno) {
            let log = foreground ? nil : try ServiceManager.log(state: options.state).release()
            defer { if let log { close(log) } }
            keeper = try ServerProgram.start(
                program,
                arguments: [
                    "keep", options.backing, options.mountpoint, "-o", options.optionText,
                    "--ready-fd", "\(ServerProgram.readyDescriptor)",
                    "--lock-fd", "\(ServerProgram.lockDescriptor)",
                ],
                ready: writer.raw, lock: lock, log: log)
        } catch {
            throw Refusal(
                subject, "the server cannot be started: \(error)", hint: "see \(program)")
        }
        discard(writer)
        do throws(Refusal) {
            try awaitReady(reader.raw, keeper)
        } catch {
            cleanUp(keeper)
            throw error
        }
        Exporter().renew(options.mountpoint)
        return keeper
    }

    /// Reads `ready` or `error TEXT` from the keeper's pipe.
    private func awaitReady(_ pipe: Int32, _ keeper: pid_t) throws(Refusal) {
        let deadline = monotonicNanoseconds() + .milliseconds(Self.patience)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while monotonicNanoseconds() < deadline, bytes.count < 65536 {
            var entry = pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)
            if poll(&entry, 1, 200) > 0 {
                let count = read(pipe, &chunk, chunk.count)
                if count <= 0 { break }
                bytes.append(contentsOf: chunk[..<count])
                guard let end = bytes.firstIndex(of: 10) else { continue }
                let line = String(decoding: bytes[..<end], as: UTF8.self)
                if line == "ready" { return }
                let reason = line.hasPrefix("error ") ? String(line.dropFirst(6)) : line
                throw Refusal(
                    subject, reason,
                    hint: "try 'forebay preflight \(options.backing) \(options.mountpoint)'")
            }
            if kill(keeper, 0) != 0 || hasEnded(keeper) { break }
        }
        throw Refusal(
            subject, "the server ended or did not answer in time",
            hint: "see \(options.state)/server.log or 'journalctl -t forebay'")
    }

    /// True when the child has ended; does not collect it.
    private func hasEnded(_ keeper: pid_t) -> Bool {
        var information = siginfo_t()
        guard waitid(P_PID, id_t(keeper), &information, WEXITED | WNOHANG | WNOWAIT) == 0 else {
            return true
        }
        return information.si_signo != 0
    }

    /// Takes back a mount that failed: ends the keeper that was started here, and what it mounted.
    private func cleanUp(_ keeper: pid_t) {
        let deadline = monotonicNanoseconds() + .seconds(5)
        while monotonicNanoseconds() < deadline, !hasEnded(keeper) { sleep(milliseconds: 20) }
        if let entry = MountTable.current().entry(at: options.mountpoint),
            entry.type == "fuse.forebay"
        {
            umount2(options.mountpoint, Int32(MNT_DETACH))
        }
        if !hasEnded(keeper) { kill(keeper, SIGKILL) }
        var status: Int32 = 0
        waitpid(keeper, &status, 0)
    }

    /// Removes what a failed mount left in the run-time folder; its server may need a moment.
    private func removeFiles() {
        for _ in 0..<100 {
            if runFolder.remove(options.name) { return }
            sleep(milliseconds: 20)
        }
    }
}
