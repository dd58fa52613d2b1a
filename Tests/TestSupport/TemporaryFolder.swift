import Glibc
import Syscalls

/// A new folder below /tmp that is removed, with all that is in it, when the object goes. What is
/// still mounted inside it is unmounted first, so that nothing is removed through a mount.
package final class TemporaryFolder: Sendable {
    /// The folder, absolute, without symbolic links.
    package let path: String

    /// `label` appears in the folder's name. Throws an `Errno` of mkdtemp(3).
    package init(_ label: String = "test") throws(Errno) {
        var template = Array("/tmp/forebay-\(label)-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Errno.last }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The path of something in the folder, which need not exist.
    package func path(_ name: String) -> String { "\(path)/\(name)" }

    /// Makes a folder in the folder and returns its path.
    package func makeFolder(_ name: String) throws(Errno) -> String {
        let path = path(name)
        try call { mkdir(path, 0o755) }
        return path
    }

    deinit {
        Mounts.removeAll(below: path)
        Files.removeTree(path)
    }
}
