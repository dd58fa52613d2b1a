import ControlPath
import Glibc
import Policy
import Syscalls

/// A mount that serves, or should, as the commands find it by its mountpoint.
struct MountedDatastore {
    let name: String
    let mountpoint: String
    private let runFolder = RunFolder()

    private init(_ mount: RunFolder.Mount) {
        name = mount.name
        mountpoint = mount.mountpoint
    }

    /// Every mount of this machine.
    static func all() -> [MountedDatastore] { RunFolder().mounts().map { MountedDatastore($0) } }

    /// The mount at a path. Compares text first: the path itself may hang.
    static func find(_ path: String) throws(Refusal) -> MountedDatastore {
        guard geteuid() == 0 else {
            throw Refusal("permission", "only root may do this", hint: "use sudo")
        }
        let all = all()
        let textual = AbsolutePath.lexical(path)
        if let mount = all.first(where: { $0.mountpoint == textual }) { return mount }
        let resolved = AbsolutePath.resolve(path)
        if let mount = all.first(where: { $0.mountpoint == resolved }) { return mount }
        if MountTable.current().entry(at: resolved)?.type == "fuse.forebay" {
            throw Refusal(
                "'\(path)'", "is a mount whose server is gone",
                hint: "'forebay unmount \(resolved)', and mount it again")
        }
        throw Refusal(
            "'\(path)'", "is not a mount of Forebay that serves", hint: "see 'forebay status'")
    }

    /// Asks the server and reads its answer. A server that is being replaced is waited for.
    func ask(_ line: String, milliseconds: UInt64) throws(Refusal) -> JSONValue {
        let subject = "'\(mountpoint)'"
        guard !line.utf8.contains(10) else {
            throw .usage(subject, "a path with a line feed cannot be named", hint: "use its folder")
        }
        let deadline = monotonicNanoseconds() + .milliseconds(milliseconds)
        while true {
            let now = monotonicNanoseconds()
            let left = now < deadline ? (deadline - now) / .milliseconds(1) : 1
            do throws(Errno) {
                let answer = try ControlClient.request(
                    line, path: runFolder.socket(name), milliseconds: left)
                guard let value = JSONValue(parsing: answer) else {
                    throw Errno.io
                }
                return value
            } catch {
                let isBeginning =
                    error == .noEntry || error == Errno(ECONNREFUSED) || error == .io
                if isBeginning, runFolder.isTaken(name), monotonicNanoseconds() < deadline {
                    sleep(milliseconds: 50)
                    continue
                }
                if error == .timedOut {
                    throw Refusal(
                        "\(line) on \(subject)", "no answer in \((milliseconds + 999) / 1000) s",
                        hint: "see whether the datastore answers")
                }
                throw Refusal(
                    subject, "the server does not answer: \(error)",
                    hint: "see the log, 'journalctl -t forebay'")
            }
        }
    }

    /// Gives an order; throws what the server said against it.
    func order(_ line: String, milliseconds: UInt64) throws(Refusal) {
        let answer = try ask(line, milliseconds: milliseconds)
        if let reason = answer["error"]?.plain {
            throw Refusal(
                "\(line) on '\(mountpoint)'", reason, hint: "see 'forebay status \(mountpoint)'")
        }
    }

    /// A path as programs open it: below the mountpoint.
    func place(_ path: String) throws(Refusal) -> String {
        let inner = try inner(path)
        return mountpoint == "/" ? inner : inner == "/" ? mountpoint : mountpoint + inner
    }

    /// A path as the server wants it: from the root of the mount.
    func inner(_ path: String) throws(Refusal) -> String {
        guard path.hasPrefix("/") else {
            return AbsolutePath.lexical("/" + path)
        }
        let textual = AbsolutePath.lexical(path)
        guard MountTable.isInside(textual, mountpoint, orSame: true) else {
            throw Refusal(
                "'\(path)'", "is not below '\(mountpoint)'", hint: "name a file of the mount")
        }
        let rest = textual.dropFirst(mountpoint == "/" ? 0 : mountpoint.count)
        return rest.isEmpty ? "/" : String(rest)
    }
}
