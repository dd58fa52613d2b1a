import Glibc
import Syscalls

/// Paths as the kernel resolves them.
package enum AbsolutePath {
    /// The path without symbolic links, "." and ".." (realpath(3)). When it leads nowhere, or a
    /// file system on the way does not answer in time: the absolute path, resolved as text.
    package static func resolve(_ path: String) -> String {
        let textual = lexical(path)
        let resolved = withTimeLimit(milliseconds: Preflight.patience) { () -> String? in
            guard let result = realpath(path, nil) else { return nil }
            defer { free(result) }
            return String(cString: result)
        }
        return (resolved ?? nil) ?? textual
    }

    /// The absolute path with "." and ".." taken out as text; asks no file system but for the
    /// current folder.
    package static func lexical(_ path: String) -> String {
        var parts: [Substring] = []
        var text = path
        if !path.hasPrefix("/"), let current = getcwd(nil, 0) {
            text = String(cString: current) + "/" + path
            free(current)
        }
        for part in text.split(separator: "/") {
            if part == ".." {
                _ = parts.popLast()
            } else if part != "." {
                parts.append(part)
            }
        }
        return "/" + parts.joined(separator: "/")
    }

    /// The nearest folder at or above an absolute path that exists.
    package static func existing(_ path: String) -> String {
        var path = lexical(path)
        var status = stat()
        while path != "/", stat(path, &status) != 0 { path = parent(path) }
        return path
    }

    /// The folder that an absolute path lies in; "/" for itself.
    package static func parent(_ path: String) -> String {
        "/" + path.split(separator: "/").dropLast().joined(separator: "/")
    }
}
