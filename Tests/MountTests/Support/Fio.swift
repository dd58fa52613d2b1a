import Glibc
import TestSupport

/// fio(1) as it writes stably at random places and verifies what it reads back, until it is
/// stopped.
final class Fio {
    private let process: ChildProcess

    init(_ path: String) throws {
        process = try ChildProcess(
            "fio",
            [
                "--name=verify", "--filename=\(path)", "--size=8M", "--rw=randwrite",
                "--bsrange=4k-64k", "--sync=1", "--verify=crc32c", "--verify_backlog=16",
                "--verify_fatal=1", "--time_based", "--runtime=3600", "--output-format=json",
            ])
    }

    /// Ends it. Throws when it had an error, or did nothing.
    func stop() throws {
        process.signal(SIGTERM)
        guard let result = process.wait(seconds: 60) else {
            throw TestFailure("fio does not end:\n\(process.outputs)")
        }
        let report = FlatJSON(result.output)
        guard report.integer("error") == 0, report.integer("total_ios") ?? 0 > 0 else {
            throw TestFailure("fio: \(result.text.prefix(4000))")
        }
    }
}
