import FuseServer
import Glibc
import Passthrough
import Policy
import Syscalls

/// Whether another program can go on with a mount: asked before the server that serves it stops.
///
/// The program is run as `forebay-server probe BACKING MOUNTPOINT -o OPTIONS --slots-fd N`. It
/// looks at everything that it would have to read, changes nothing, and writes `ready VERSION`, or
/// on standard error why not. A cache in memory that it cannot read, it would begin anew.
enum Probe {
    // MARK: - The program that is asked

    /// Answers the exit status.
    static func run(_ invocation: Invocation) -> Int32 {
        do throws(Refusal) {
            try look(invocation)
        } catch {
            _ = (error.line + "\n").withCString { write(2, $0, strlen($0)) }
            return error.status
        }
        _ = "ready \(Version.text)\n".withCString { write(1, $0, strlen($0)) }
        return 0
    }

    private static func look(_ invocation: Invocation) throws(Refusal) {
        do throws(Errno) {
            _ = try RequestSlots(descriptor: invocation.slotsDescriptor, populated: false)
        } catch {
            throw Refusal(
                "request slots", error == .invalid ? "are of another version" : "\(error)")
        }
        guard IdentityStore.isReadable(folder: invocation.options.state) else {
            throw Refusal("\(invocation.options.state)/identity.db", "is of another version")
        }
    }

    // MARK: - The server that asks

    /// Runs `program` on what the mount has in memory. Answers its version; throws why it cannot
    /// go on.
    static func ask(
        _ program: String, options: MountOptions, slots: Int32
    ) throws(Refusal) -> String {
        let arguments = [
            "probe", options.backing, options.mountpoint, "-o", options.optionText, "--slots-fd",
            "3",
        ]
        let text: String
        let end: ServerProcess.End
        do throws(Errno) {
            var ends: [Int32] = [-1, -1]
            try call { pipe(&ends) }
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
            let reader = Descriptor(owning: ends[0])
            let writer = Descriptor(owning: ends[1])
            let process = try ServerProcess.start(
                program: program, arguments: arguments, descriptors: [slots],
                output: writer.raw)
            discard(writer)
            text = read(reader.raw)
            end = process.end(within: Limits.probe)
        } catch {
            throw Refusal(program, "\(error)", hint: "install it again")
        }
        let lines = text.split(separator: "\n")
        if end == .exit(0), let line = lines.last(where: { $0.hasPrefix("ready ") }) {
            return String(line.dropFirst(6))
        }
        var reason = lines.last ?? "it said nothing"
        if reason.hasPrefix("forebay: ") { reason.removeFirst("forebay: ".count) }
        throw Refusal(
            program, "cannot go on with this mount (\(end)): \(reason)",
            hint: "unmount, install and mount again")
    }

    private static func discard(_ descriptor: consuming Descriptor) {}

    /// What the program writes until it ends, or until it has had its time.
    private static func read(_ pipe: Int32) -> String {
        let deadline = monotonicNanoseconds() + .milliseconds(Limits.probe)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while bytes.count < 65536, monotonicNanoseconds() < deadline {
            var event = pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)
            guard poll(&event, 1, 100) > 0 else { continue }
            let count = Glibc.read(pipe, &chunk, chunk.count)
            guard count > 0 else { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
