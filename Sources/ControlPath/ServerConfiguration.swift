/// The settings of the NFS server: nfs.conf(5) and the files in nfs.conf.d, of which the later
/// count.
struct ServerConfiguration {
    private var values: [String: String] = [:]

    init(_ files: SystemFiles) {
        let more = TextFile.names(in: files.serverConfigurationFolder).sorted()
            .filter { $0.hasSuffix(".conf") }
            .map { "\(files.serverConfigurationFolder)/\($0)" }
        for file in [files.serverConfiguration] + more { add(TextFile.read(file) ?? "") }
    }

    private mutating func add(_ text: String) {
        var section = ""
        for line in text.split(separator: "\n") {
            let line = Self.trim(line.prefix { $0 != "#" && $0 != ";" })
            if line.hasPrefix("[") {
                section = Self.trim(line.dropFirst().prefix { $0 != "]" && $0 != " " }).lowercased()
            } else if let equals = line.firstIndex(of: "=") {
                let key = Self.trim(line[..<equals]).lowercased()
                values["\(section) \(key)"] = Self.trim(line[line.index(after: equals)...])
            }
        }
    }

    /// The value of a key in a section; nil when it is left to its default.
    func value(_ section: String, _ key: String) -> String? { values["\(section) \(key)"] }

    /// A value of yes or no, in all the ways in which nfs.conf(5) writes them.
    func isOn(_ section: String, _ key: String, otherwise: Bool) -> Bool {
        switch value(section, key)?.lowercased() {
        case "1", "t", "true", "y", "yes", "on": true
        case "0", "f", "false", "n", "no", "off": false
        default: otherwise
        }
    }

    private static func trim(_ text: some StringProtocol) -> String {
        let words = text.split(whereSeparator: \.isWhitespace)
        return words.joined(separator: " ")
    }
}
