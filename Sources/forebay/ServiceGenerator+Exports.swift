import ControlPath
import Glibc
import Policy
import Syscalls

// The generator of nfs-utils starts the NFS server before every NFS mount of fstab(5), because each
// may be one of this machine's own exports. A datastore's mount has to come before what exports it:
// with both orders systemd leaves out the mount or the server.
extension ServiceGenerator {
    private static let name = "nfs-server.service.d/order-with-mounts.conf"

    /// Writes what that generator says, without the orders against `units`, to where it takes the
    /// place of its file. Nothing where nfs-utils has no generator.
    static func orderExports(after units: Set<String>, early: String) throws(Refusal) {
        let places = ["/usr/lib", "/lib"].map { "\($0)/systemd/system-generators" }
        let programs = places.map { ExternalProgram(path: "\($0)/nfs-server-generator") }
        guard let program = programs.first(where: { access($0.path, X_OK) == 0 }) else { return }
        let work = "\(early)/forebay-work"
        guard mkdir(work, 0o700) == 0 else { throw Refusal(work, "\(Errno.last)") }
        defer {
            unlink("\(work)/\(name)")
            rmdir(AbsolutePath.parent("\(work)/\(name)"))
            rmdir(work)
        }
        do throws(Errno) {
            _ = try program.run([work, work, work], milliseconds: 10_000)
        } catch {
            throw Refusal(program.path, "\(error)")
        }
        guard let text = TextFile.read("\(work)/\(name)") else { return }
        try write(without(units, text), to: "\(early)/\(name)")
    }

    /// The text without the lines `Before=UNIT` of these units.
    private static func without(_ units: Set<String>, _ text: String) -> String {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        return lines.filter { line in
            !line.hasPrefix("Before=") || !units.contains(String(line.dropFirst(7)))
        }.joined(separator: "\n")
    }
}
