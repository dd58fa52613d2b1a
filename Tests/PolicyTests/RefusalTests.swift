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

    @Test func placesAreNoOptions() throws {
        let file = try ConfigurationFile(
            text: """
                backing = "/mnt/a b, c"
                mountpoint = '/srv'
                backing_mount = '/mnt'
                ro = true
                """, path: "x")
        #expect(file.backing == "/mnt/a b, c")
        #expect(file.mountpoint == "/srv")
        #expect(file.backingMount == "/mnt")
        #expect(file.options == ["ro"])
    }

    @Test func aKeyStandsThereOnce() {
        let refusal = #expect(throws: Refusal.self) { try options("ram = \"1G\"\nram = \"2G\"") }
        #expect(refusal?.what == "/etc/forebay/x.toml line 2")
        #expect(refusal?.why.contains("second time") == true)
    }

    @Test func whatIsWrittenIsReadBack() throws {
        let text = try ConfigurationFile.text(
            backing: "/mnt/a \\ \"b\"", mountpoint: "/srv", options: ["ram=1G", "nosuid"])
        let file = try ConfigurationFile(text: text, path: "x")
        #expect(file.backing == "/mnt/a \\ \"b\"")
        #expect(file.mountpoint == "/srv")
        #expect(file.options == ["ram=1G", "nosuid"])
        #expect(throws: Refusal.self) {
            try ConfigurationFile.text(backing: "/a'b", mountpoint: "/srv", options: [])
        }
    }

    @Test(arguments: [
        "ram", "= 1", "[table]", "ram = ", "ram = \"8G", "ram = \"8G\" x", "a.b = 1",
        "list = [1, 2]", "ram = \"a,b\"", "ram = \"\\n\"", "ram = 8 G",
        "ram = 8G", "backing = true", "mountpoint = \"srv\"", "name = \"x\"",
        "t = 2.", "\"a\" = 1",
    ])
    func otherLinesAreRefusedByNumber(line: String) {
        let refusal = #expect(throws: Refusal.self) { try options("\n" + line) }
        #expect(refusal?.status == 2)
        #expect(refusal?.what == "/etc/forebay/x.toml line 2")
    }
}
