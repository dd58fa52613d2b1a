import CLinux
import Glibc

/// The programs of the project, which the build leaves next to the test runner.
package enum Programs {
    /// The command line tool.
    package static var forebay: String { get throws { try path("forebay") } }
    /// The keeper and the server.
    package static var forebayServer: String { get throws { try path("forebay-server") } }
    /// The datastore that misbehaves.
    package static var testDatastore: String { get throws { try path("test-datastore") } }

    /// The folder of the running program.
    package static var folder: String {
        guard let resolved = realpath("/proc/self/exe", nil) else { return "." }
        defer { free(resolved) }
        let path = String(cString: resolved)
        return path.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }
    }

    /// The path of a program of the project. Throws when it has not been built.
    package static func path(_ name: String) throws(TestFailure) -> String {
        let candidates = [folder, CommandLine.arguments.first.map(parent) ?? ""]
        for candidate in candidates {
            let path = "\(candidate)/\(name)"
            if access(path, X_OK) == 0 { return path }
        }
        throw TestFailure("\(name) is not in \(folder): build it first (swift build)")
    }

    private static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return String(path[..<slash])
    }
}
