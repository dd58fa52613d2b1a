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

    @Test func everyExtendedAttributeIsDocumented() {
        let prefix = "user.forebay."
        let document = text("docs/xattrs.md")
        #expect(document.contains(prefix))
        let names = Repository.files(below: ["Sources/ControlPath"], suffixes: [".swift"])
            .flatMap { literals(in: $0.lines) }
            .filter { $0.hasPrefix(prefix) && $0.count > prefix.count }
            .map { String($0.dropFirst(prefix.count)) }
        let missing = Set(names).filter { !document.contains("`.\($0)`") }
        #expect(missing.isEmpty)
    }

    @Test func everyMountOptionIsDocumented() {
        let options = Set(
            Repository.files(below: ["Sources/Policy"], suffixes: ["Parser.swift"])
                .flatMap { file in file.lines.filter { $0.trimmed.hasPrefix("case \"") } }
                .flatMap { literals(in: [$0]) })
        for path in ["docs/operations.md", "docs/man/mount.forebay.8"] {
            let document = text(path).replacing("\\", with: "")
            #expect(document.contains("ram="))
            #expect(options.filter { !document.contains($0) }.isEmpty)
        }
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
