import ControlPath
import Glibc
import Passthrough
import Syscalls

/// Finds the paths of files of which a log knows the numbers only.
enum LogFileNames {
    /// Folders that are looked into; a datastore of virtual machines has far fewer.
    private static let mostFolders = 100_000

    /// The paths, from the folder of the datastore on, by node number. What is not found, or
    /// cannot be read, is left out.
    static func find(_ wanted: Set<UInt64>, below backing: String) -> [UInt64: String] {
        var found: [UInt64: String] = [:]
        var waiting = [""]
        var folders = 0
        while let inner = waiting.popLast(), folders < mostFolders, found.count < wanted.count {
            folders += 1
            let folder = backing + inner
            for name in TextFile.names(in: folder) {
                let path = "\(inner)/\(name)"
                var status = stat()
                guard lstat(backing + path, &status) == 0 else { continue }
                switch status.st_mode & S_IFMT {
                case S_IFDIR: waiting.append(path)
                case S_IFREG:
                    guard let node = node(of: backing + path), wanted.contains(node) else {
                        continue
                    }
                    found[node] = path
                default: break
                }
            }
        }
        return found
    }

    private static func node(of path: String) -> UInt64? {
        guard let file = try? Descriptor(path: path, flags: O_RDONLY | O_NOFOLLOW),
            let handle = try? FileHandle.of(descriptor: file.raw).handle
        else { return nil }
        return handle.nodeID().rawValue
    }
}
