import Testing

/// Who may import whom: the rules of docs/architecture.md.
@Suite struct LayeringTests {
    /// The modules that a file imports, and the file.
    private struct Importer {
        let path: String
        let modules: Set<String>
    }

    private static let importers: [Importer] = StyleTests.swift.map { file in
        var modules: Set<String> = []
        for line in file.lines {
            let words = line.split(separator: " ")
            guard let keyword = words.firstIndex(of: "import"), keyword <= 2,
                !line.hasPrefix("//"), let last = words.last
            else { continue }
            modules.insert(String(last.split(separator: ".").first ?? last))
        }
        return Importer(path: file.path, modules: modules)
    }

    private func paths(importing modules: Set<String>, below folder: String) -> [String] {
        Self.importers
            .filter { $0.path.hasPrefix(folder) && !$0.modules.isDisjoint(with: modules) }
            .map(\.path)
    }

    @Test func importsAreFound() {
        #expect(!paths(importing: ["Glibc"], below: "Sources/Syscalls/").isEmpty)
    }

    @Test func onlyTheFuseServerAndTheTestDatastoreImportLibfuse() {
        let allowed = ["Sources/FuseServer/", "Tests/TestDatastore/", "Tests/FuseServerTests/"]
        let others =
            (paths(importing: ["CFuse"], below: "Sources/")
            + paths(importing: ["CFuse"], below: "Tests/"))
            .filter { path in !allowed.contains { path.hasPrefix($0) } }
        #expect(others.isEmpty)
    }

    @Test func onlyTheCommandLineSendsAlerts() {
        let others = paths(importing: ["Alerts", "CCurl", "TOMLKit"], below: "Sources/").filter {
            !$0.hasPrefix("Sources/Alerts/") && !$0.hasPrefix("Sources/forebay/")
        }
        #expect(others.isEmpty)
        #expect(paths(importing: ["CCurl"], below: "Sources/forebay/").isEmpty)
    }

    @Test func nothingImportsFoundationOrDispatch() {
        let modules: Set = ["Foundation", "FoundationEssentials", "Dispatch"]
        #expect(paths(importing: modules, below: "Sources/").isEmpty)
    }

    @Test(arguments: [
        (
            "Sources/FlashTier/", ["Passthrough", "DataPath", "ControlPath", "FuseServer"]
        ),
        (
            "Sources/ReadCache/",
            ["FlashTier", "Journal", "Passthrough", "DataPath", "ControlPath", "FuseServer"]
        ),
        (
            "Sources/Journal/",
            ["ReadCache", "FlashTier", "Passthrough", "DataPath", "ControlPath", "FuseServer"]
        ),
        (
            "Sources/Passthrough/",
            ["ReadCache", "FlashTier", "Journal", "DataPath", "ControlPath", "FuseServer"]
        ),
        ("Sources/DataPath/", ["ControlPath", "FuseServer"]),
        ("Sources/ControlPath/", ["FuseServer"]),
        (
            "Sources/Syscalls/",
            ["Policy", "ReadCache", "Passthrough", "DataPath", "ControlPath", "FuseServer"]
        ),
        (
            "Sources/Policy/",
            ["ReadCache", "Passthrough", "DataPath", "ControlPath", "FuseServer"]
        ),
    ])
    func importsPointOneWay(_ folder: String, _ forbidden: [String]) {
        #expect(paths(importing: Set(forbidden), below: folder).isEmpty)
    }

    @Test func theDataPathIsNotAsynchronous() {
        var found: [String] = []
        for file in StyleTests.sources where file.path.hasSuffix(".swift") {
            for (index, line) in file.lines.enumerated() where !line.trimmed.hasPrefix("//") {
                let code = line.withoutLiterals[...]
                if ["async", "await", "Task"].contains(where: { code.containsWord($0) }) {
                    found.append(file.place(index))
                }
            }
        }
        #expect(found.isEmpty)
    }
}
