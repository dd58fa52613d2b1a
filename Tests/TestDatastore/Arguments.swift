import Glibc

/// What the command line asks for.
struct Arguments {
    var folder = ""
    var mountpoint = ""
    var control: String?
    var isForeground = false
    /// Seconds that the kernel may believe attributes and names.
    var timeout = 0.0
    /// Commands of the control protocol that are run before the first request.
    var commands: [String] = []

    static let usage = """
        usage: test-datastore FOLDER MOUNTPOINT [OPTION…]
          --control SOCKET          take commands on this UNIX socket
          --foreground              do not go to the background
          --timeout SECONDS         how long the kernel may believe attributes and names (0)
          --latency OP=MICROSECONDS --bandwidth BYTES_PER_SECOND
          --hang OP  --fail OP=ERROR[:COUNT]
        OP is a FUSE operation (read, write, lookup, …) or all.
        """

    /// Reads the arguments after the program's name.
    init(_ arguments: [String]) throws(CommandError) {
        var rest = arguments[...]
        var paths: [String] = []
        while let word = rest.popFirst() {
            switch word {
            case "--foreground": isForeground = true
            case "--control": control = try Self.value(word, &rest)
            case "--timeout":
                let text = try Self.value(word, &rest)
                guard let seconds = Double(text), (0...86400).contains(seconds) else {
                    throw CommandError(text: "not a number of seconds: \(text)")
                }
                timeout = seconds
            case "--latency", "--bandwidth", "--hang", "--fail":
                commands.append(Self.command(word, try Self.value(word, &rest)))
            case _ where word.hasPrefix("-"): throw CommandError(text: "unknown option: \(word)")
            default: paths.append(word)
            }
        }
        guard paths.count == 2 else { throw CommandError(text: "FOLDER and MOUNTPOINT are needed") }
        folder = try Self.absolute(paths[0])
        mountpoint = try Self.absolute(paths[1])
        control = control.map { $0.hasPrefix("/") ? $0 : Self.currentFolder + "/" + $0 }
    }

    private static func value(
        _ option: String, _ rest: inout ArraySlice<String>
    ) throws(CommandError) -> String {
        guard let value = rest.popFirst() else {
            throw CommandError(text: "\(option) needs a value")
        }
        return value
    }

    /// The command that a flag stands for: `--fail read=EIO:3` is `fail read EIO 3`.
    private static func command(_ option: String, _ value: String) -> String {
        let words = value.map { $0 == "=" || $0 == ":" ? " " : String($0) }.joined()
        return "\(option.dropFirst(2)) \(words)" + (option == "--hang" ? " on" : "")
    }

    /// Going to the background changes the working folder.
    private static func absolute(_ path: String) throws(CommandError) -> String {
        guard let resolved = realpath(path, nil) else {
            throw CommandError(text: "\(path): \(String(cString: strerror(errno)))")
        }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private static var currentFolder: String {
        guard let path = getcwd(nil, 0) else { return "" }
        defer { free(path) }
        return String(cString: path)
    }
}
