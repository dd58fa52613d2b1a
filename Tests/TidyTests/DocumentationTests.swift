import Testing

/// What users may name must be where users look it up.
@Suite struct DocumentationTests {
    /// The text of a document as one string; empty when there is none.
    private func text(_ path: String) -> String {
        Repository.file(path)?.lines.joined(separator: "\n") ?? ""
    }

    /// The string literals of Swift lines, without their quotation marks.
    private func literals(in lines: [Substring]) -> [String] {
        lines.filter { !$0.trimmed.hasPrefix("//") }.flatMap { line in
            line.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
                .filter { $0.offset % 2 == 1 }
                .map { String($0.element) }
        }
    }

    /// What stands in quotation marks right behind one of the beginnings.
    private func literals(behind beginnings: [String], below folder: String) -> Set<String> {
        let lines = Repository.files(below: [folder], suffixes: [".swift"]).flatMap(\.lines)
            .map(\.trimmed).filter { !$0.hasPrefix("//") }
        let found = lines.flatMap { line in
            beginnings.flatMap { beginning in
                line.ranges(of: beginning + "\"").compactMap { range in
                    line[range.upperBound...].split(separator: "\"").first.map(String.init)
                }
            }
        }
        return Set(found)
    }

    @Test func everyExtendedAttributeIsDocumented() {
        let names = literals(behind: ["Statistic(", "table["], below: "Sources/ControlPath")
        #expect(names.isSuperset(of: ["hits_ram", "stats", "policy", "drop"]))
        for path in ["docs/xattrs.md", "docs/man/forebay-xattr.7"] {
            let document = text(path).replacing("\\", with: "")
            #expect(names.filter { !document.contains(".\($0)") }.isEmpty)
        }
    }

    @Test func everyMountOptionIsDocumented() {
        let options = optionsWithValues
        #expect(options.isSuperset(of: ["ram", "name", "state", "backend_timeout"]))
        for path in ["docs/operations.md", "docs/man/mount.forebay.8"] {
            let document = text(path).replacing("\\", with: "")
            #expect(options.filter { !document.contains("\($0)=") }.isEmpty)
        }
    }

    /// The keys of the parser's table `known`.
    private var optionsWithValues: Set<String> {
        guard let file = Repository.file("Sources/Policy/MountOptionsParser.swift"),
            let start = file.lines.firstIndex(where: { $0.contains("static let known") }),
            let end = file.lines[start...].firstIndex(where: { $0.trimmed == "]" })
        else { return [] }
        let strings = literals(in: Array(file.lines[(start + 1)..<end]))
        return Set(strings.enumerated().filter { $0.offset % 2 == 0 }.map(\.element))
    }

    @Test func everyCommandHasItsPlaceInTheManual() {
        let commands = literals(behind: ["commandName: "], below: "Sources/forebay")
        #expect(commands.isSuperset(of: ["mount", "status"]))
        let manual = text("docs/man/forebay.8")
        #expect(commands.filter { !manual.contains("forebay \($0)") && $0 != "forebay" }.isEmpty)
    }

    @Test func everyLimitHasItsReason() throws {
        let file = try #require(Repository.file("Sources/Policy/Limits.swift"))
        var bare: [String] = []
        for (index, line) in file.lines.enumerated() where line.contains("static let") {
            if !file.lines[index - 1].trimmed.hasPrefix("///") { bare.append(file.place(index)) }
        }
        #expect(bare.isEmpty)
    }

    @Test func everyCommandOfTheMakefileIsInTheReadme() {
        let readme = text("README.md")
        for verb in ["demo", "test", "build", "bench", "check", "install", "uninstall"] {
            #expect(readme.contains("make \(verb)"))
        }
    }
}
