import ControlPath
import Glibc
import Policy

/// The program at the place from where this one was started: what was installed there since.
enum InstalledProgram {
    /// Its path. Throws when nothing is there that could be run.
    static func path() throws(Refusal) -> String {
        guard var path = TextFile.link("/proc/self/exe") else {
            throw Refusal("/proc/self/exe", "cannot be read")
        }
        // What the kernel appends when the file was replaced or removed: proc(5).
        let removed = " (deleted)"
        if path.hasSuffix(removed) { path.removeLast(removed.count) }
        guard access(path, X_OK) == 0 else {
            throw Refusal(path, "is not there to be run", hint: "install it")
        }
        return path
    }
}
