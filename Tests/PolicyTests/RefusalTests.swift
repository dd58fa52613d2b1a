import Policy
import Testing

@Suite struct RefusalTests {
    @Test func oneLineWithAllParts() {
        let refusal = Refusal("mountpoint '/x'", "is in use", hint: "choose another")
        #expect(refusal.line == "forebay: mountpoint '/x': is in use; choose another")
        #expect(refusal.status == 1)
        let short = Refusal.usage("option 'x'", "is not known")
        #expect(short.line == "forebay: option 'x': is not known")
        #expect(Refusal.usage("a", "b").status == 2)
    }

    @Test func staysOneLine() {
        let line = Refusal("'/a\nb\u{1b}[2J'", "is\todd").line
        #expect(line == "forebay: '/a?b?[2J': is?odd")
    }
}

@Suite struct ConfigurationFileTests {
    private func options(_ text: String) throws(Refusal) -> [String] {
        try ConfigurationFile.options(in: text, path: "/etc/forebay/x.toml")
    }

    @Test func keysAndValues() throws {
        let text = """
            # comment
            ram = "8G"   # trailing
            state='/var/lib/x'
            attr_timeout = 2.5

            ro = true
            nosuid = false
            """
        #expect(try options(text) == ["ram=8G", "state=/var/lib/x", "attr_timeout=2.5", "ro"])
    }

    @Test(arguments: [
        "ram", "= 1", "[table]", "ram = ", "ram = \"8G", "ram = \"8G\" x", "a.b = 1",
        "list = [1, 2]", "ram = \"a,b\"", "ram = \"\\n\"", "ram = 8 G",
    ])
    func otherLinesAreRefusedByNumber(line: String) {
        let refusal = #expect(throws: Refusal.self) { try options("\n" + line) }
        #expect(refusal?.status == 2)
        #expect(refusal?.what == "/etc/forebay/x.toml line 2")
    }
}
