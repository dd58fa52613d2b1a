import CLinux
import Glibc
import Syscalls

/// A running test-datastore: a folder that appears at `path` as the NFS mount of a filer would,
/// and is slow, hangs or fails when told to. It ends with the object, and with the test runner
/// whatever becomes of that.
package final class TestDatastore: Sendable {
    /// What was asked of the datastore.
    package struct Counts: Sendable {
        private let json: FlatJSON
        fileprivate init(_ text: String) { json = FlatJSON(text) }

        /// Calls of a FUSE operation by its name (`read`, `lookup`, …).
        package subscript(_ operation: String) -> UInt64 { json.integer(operation) ?? 0 }
        /// Calls of all operations.
        package var total: UInt64 { self["total"] }
        /// Bytes that were read.
        package var readBytes: UInt64 { self["read_bytes"] }
        /// Bytes that were written.
        package var writeBytes: UInt64 { self["write_bytes"] }
        /// Writes that had to be durable before their reply (O_SYNC, O_DSYNC).
        package var stableWrites: UInt64 { self["stable_writes"] }
        /// Operations that failed on purpose.
        package var failed: UInt64 { self["failed"] }
        /// Operations that `hang` holds now.
        package var held: UInt64 { self["held"] }
        /// The most operations that were under way at once.
        package var mostUnderWay: UInt64 { self["most_under_way"] }
    }

    /// The mount.
    package let path: String
    /// The folder behind it: what is changed here is changed behind everybody's back.
    package let folder: String

    private let space: TemporaryFolder
    private let process: ChildProcess
    private let control: ControlClient

    /// Starts a datastore over a new folder, or over one that is there. `options` are flags of the
    /// program, for example `["--latency", "read=1000"]`.
    package init(folder: String? = nil, options: [String] = []) throws {
        space = try TemporaryFolder("datastore")
        path = try space.makeFolder("mount")
        self.folder = try folder ?? space.makeFolder("folder")
        let socket = space.path("control")
        let program = try Programs.testDatastore
        process = try ChildProcess(
            program, [self.folder, path, "--control", socket, "--foreground"] + options)
        control = ControlClient(socket)
        let (process, control) = (process, control)
        let isUp = try eventually {
            guard process.isRunning else {
                throw TestFailure("test-datastore ended: \(process.outputs)")
            }
            return control.connect()
        }
        guard isUp else { throw TestFailure("test-datastore does not answer") }
        // It ends when this connection does.
        _ = try command("lease")
    }

    deinit { stop() }

    /// The path of something in the mount.
    package func path(_ name: String) -> String { "\(path)/\(name)" }

    /// The same thing in the folder behind it.
    package func folderPath(_ name: String) -> String { "\(folder)/\(name)" }

    /// The process's number.
    package var pid: Int32 { process.pid }

    /// Sends a line of the control protocol; returns what stands behind `ok`.
    @discardableResult
    package func command(_ line: String) throws -> String { try control.command(line) }

    /// Makes an operation (or `all`) take so many microseconds longer; 0 ends that.
    package func setLatency(_ operation: String, microseconds: UInt64) throws {
        try command("latency \(operation) \(microseconds)")
    }

    /// Bytes per second of reads and writes together; 0: no limit.
    package func setBandwidth(_ bytesPerSecond: UInt64) throws {
        try command("bandwidth \(bytesPerSecond)")
    }

    /// Holds an operation (or `all`) until `unhang`.
    package func hang(_ operation: String = "all") throws { try command("hang \(operation) on") }

    /// Lets held operations continue.
    package func unhang(_ operation: String = "all") throws {
        try command("hang \(operation) off")
    }

    /// Stops the program itself: not even a fatal signal ends a call on it then, as with a filer
    /// whose client waits in the kernel. Nothing else can be asked of it until `thaw`.
    package func freeze() { kill(pid, SIGSTOP) }

    /// Lets it run again.
    package func thaw() { kill(pid, SIGCONT) }

    /// Makes an operation (or `all`) fail with an error, `ESTALE` for example: the next `count`
    /// times, or until `fail(operation, "none")`.
    package func fail(_ operation: String, _ error: String, count: Int? = nil) throws {
        try command("fail \(operation) \(error)" + (count.map { " \($0)" } ?? ""))
    }

    /// Remembers from now on what is not flushed, for `cut`; false forgets it.
    package func setVolatile(_ isOn: Bool) throws { try command("volatile \(isOn ? "on" : "off")") }

    /// Takes back what was written and not flushed, or a part of it, as a cut of the power does
    /// with a disk's cache. Answers how many sectors were lost.
    package func cut(seed: UInt64) throws -> Int { Int(try command("cut \(seed)")) ?? 0 }

    /// Ends every fault.
    package func heal() throws { try command("heal") }

    /// What was asked since the start or the last `resetCounts`.
    package func counts() throws -> Counts { Counts(try command("counts")) }

    /// Sets the counts to zero.
    package func resetCounts() throws { try command("reset") }

    /// Waits until at least `count` operations are held.
    package func waitUntilHeld(_ count: UInt64, within seconds: UInt64 = 20) throws {
        guard try eventually(within: seconds, { try counts().held >= count }) else {
            throw TestFailure("only \(try counts().held) operations held, not \(count)")
        }
    }

    /// Ends it and takes the mount away, whatever state it is in. May be called more than once.
    package func stop() {
        thaw()
        _ = try? command("heal")
        control.disconnect()
        process.terminate()
        Mounts.removeAll(below: path)
    }
}
