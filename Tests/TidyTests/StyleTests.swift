import Testing

/// docs/style.md, as far as a program can check it.
@Suite struct StyleTests {
    static let swift = Repository.files(below: ["Sources", "Tests"], suffixes: [".swift"])
    static let sources = Repository.files(below: ["Sources"], suffixes: [".swift", ".c", ".h"])
    static let scripts = Repository.files(below: ["scripts", ".ci", "Benchmarks"], suffixes: [""])

    @Test func theRepositoryIsThere() {
        #expect(Self.sources.count > 20)
        #expect(Self.scripts.count > 2)
    }

    @Test func noLineIsLongerThan100Columns() {
        var long: [String] = []
        for file in Self.swift + Self.sources {
            for (index, line) in file.lines.enumerated() where line.count > 100 {
                long.append(file.place(index))
            }
        }
        #expect(long.isEmpty)
    }

    @Test func noLineEndsInSpacesOrHasTabs() {
        var untidy: [String] = []
        for file in Self.swift + Self.sources {
            for (index, line) in file.lines.enumerated() {
                if line.last == " " || line.contains("\t") { untidy.append(file.place(index)) }
            }
        }
        #expect(untidy.isEmpty)
    }

    @Test func noFileIsLongerThan500Lines() {
        let long = (Self.swift + Self.sources).filter { $0.lines.count > 500 }
        #expect(long.map { "\($0.path): \($0.lines.count)" }.isEmpty)
    }

    @Test func noFunctionIsLongerThan70Lines() {
        var long: [String] = []
        for file in Self.swift {
            for function in functions(of: file) where function.length > 70 {
                long.append("\(file.place(function.start)): \(function.length) lines")
            }
        }
        #expect(long.isEmpty)
    }

    @Test func theProductHoldsNothingUnfinishedOrThatTraps() {
        let words = [
            "TODO", "FIXME", "XXX", "HACK", "placeholder", "fatalError(", "try!", "as!",
            "not implemented",
        ]
        var found: [String] = []
        for file in Self.sources {
            for (index, line) in file.lines.enumerated() {
                found += words.filter(line.containsWord).map { "\(file.place(index)): \($0)" }
            }
        }
        #expect(found.isEmpty)
    }

    @Test func noFileNamesAFolderOfSomeonesMachine() {
        // Put together here, so that this file is not found itself.
        let folders = ["/" + "work/h-", "/" + "work/main", "/" + "work/shared", "/" + "Users/"]
        let files =
            Self.swift + Self.sources + Self.scripts
            + Repository.files(below: ["docs"], suffixes: [""])
            + ["Package.swift", "Makefile", "README.md", "CONTRIBUTING.md"]
            .compactMap(Repository.file)
        var found: [String] = []
        for file in files {
            for (index, line) in file.lines.enumerated()
            where folders.contains(where: { line.contains($0) }) {
                found.append(file.place(index))
            }
        }
        #expect(found.isEmpty)
    }

    @Test func whatBeginsWithAnInterpreterCanBeRun() {
        let locked = Self.scripts.filter {
            $0.lines.first?.hasPrefix("#!") == true && !Repository.isExecutable($0.path)
        }
        #expect(locked.map(\.path).isEmpty)
    }

    @Test func theLengthOfAFunctionIsCountedRight() throws {
        let text = """
            protocol P {
                func without() throws
                func other()
            }
            struct S {
                func one() { 1 }
                func long(
                    a: Int
                ) -> Int {
                    if a == 1 {
                    }
                    return a
                }
            }
            """
        let file = Repository.File(path: "", lines: text.split(separator: "\n"))
        let found = functions(of: file)
        #expect(found.map(\.start) == [6])
        #expect(found.map(\.length) == [7])
    }

    /// The functions and initialisers with a body of more than one line. Trusts the formatter: a
    /// body ends at the first closing brace that stands as far left as its declaration.
    private func functions(of file: Repository.File) -> [(start: Int, length: Int)] {
        var found: [(start: Int, length: Int)] = []
        for start in file.lines.indices where declaresFunction(file.lines[start].trimmed) {
            let indentation = file.lines[start].indentation
            guard let opening = bodyOpening(of: start, indentation, in: file.lines) else {
                continue
            }
            let end = file.lines[(opening + 1)...].firstIndex {
                $0.indentation == indentation && $0.trimmed.hasPrefix("}")
            }
            if let end { found.append((start, end - start + 1)) }
        }
        return found
    }

    private func declaresFunction(_ line: Substring) -> Bool {
        guard !line.hasPrefix("//") else { return false }
        let words = line.split(separator: " ", maxSplits: 6)
        return line == "deinit {"
            || words.contains { $0 == "func" || $0.hasPrefix("init(") || $0.hasPrefix("init?(") }
    }

    /// The line that ends in the brace of the body; nil when there is none, or it ends there too.
    private func bodyOpening(of start: Int, _ indentation: Int, in lines: [Substring]) -> Int? {
        for index in start..<lines.count {
            let line = lines[index]
            if line.hasSuffix("{") { return index }
            if line.hasSuffix("}") { return nil }
            if index > start, line.indentation <= indentation, !line.trimmed.hasPrefix(")") {
                return nil
            }
        }
        return nil
    }
}
