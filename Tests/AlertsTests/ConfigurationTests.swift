import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

@testable import Alerts

@Suite struct ConfigurationTests {
    private let space: TemporaryFolder

    init() throws {
        space = try TemporaryFolder("alerts")
        try Files.write(space.path("secret"), Array("long enough\n".utf8), mode: 0o600)
    }

    private func read(_ text: String) throws(Refusal) -> AlertConfiguration {
        try AlertConfiguration(
            parsing: text.replacing("SECRET", with: space.path("secret")), path: "alerts.toml")
    }

    @Test func everyKeyOfEveryChannel() throws {
        let configuration = try read(
            """
            interval = 60 # seconds
            [mail]
            server = "smtp.example.com"
            port = 2525
            security = "tls"
            ca_file = "SECRET"
            user = "forebay"
            password_file = "SECRET"
            from = "forebay@example.com"
            to = [
                "one@example.com",
                "two@example.com",
            ]
            classes = ["server", "datastore"]
            [webhook]
            url = "https://example.com/hook"
            token_file = "SECRET"
            ca_file = "SECRET"
            classes = []
            [snmp]
            version = "3"
            receiver = "192.0.2.1"
            port = 1162
            inform = false
            user = "forebay"
            auth_protocol = "SHA-256"
            auth_password_file = "SECRET"
            privacy_protocol = "AES"
            privacy_password_file = "SECRET"
            engine_id = "0x80001f8804666f7265626179"
            program = "/bin/true"
            [script]
            program = "/bin/true"
            arguments = ["-x"]
            """)
        #expect(configuration.interval == 60)
        #expect(configuration.channels.map(\.name) == ["mail", "snmp", "webhook", "script"])
        #expect(configuration.channels[0].classes == [.server, .datastore, .test])
        #expect(configuration.channels[2].classes == [.test])
        #expect(configuration.channels[3].classes == Set(EventClass.allCases))
    }

    @Test func anEmptyFileHasNoChannels() throws {
        let configuration = try read("")
        #expect(configuration.channels.isEmpty)
        #expect(configuration.interval == Limits.alertInterval)
    }

    @Test(arguments: [
        ("[mail\n", "line 1"), ("x = 1", "x"), ("interval = 0", "interval"),
        ("interval = \"5\"", "interval"), ("mail = 1", "mail"), ("[script]", "program"),
        ("[script]\nprogram = \"true\"", "program"),
        ("[script]\nprogram = \"/no/such/file\"", "program"),
        ("[script]\nprogram = \"/bin/true\"\ntypo = 1", "typo"),
        ("[script]\nprogram = \"/bin/true\"\nclasses = [\"what\"]", "classes"),
        ("[script]\nprogram = \"/bin/true\"\nclasses = \"server\"", "classes"),
        ("[script]\nprogram = \"/bin/true\"\narguments = [1]", "arguments"),
        ("[webhook]\nurl = \"ftp://x\"", "url"),
        ("[webhook]\nurl = \"https://x\"\ntoken_file = \"/etc/passwd\"", "token_file"),
        ("[mail]\nserver = \"a b\"", "server"),
        ("[mail]\nserver = \"x\"\nsecurity = \"some\"", "security"),
        ("[mail]\nserver = \"x\"\nport = 70000", "port"),
        ("[mail]\nserver = \"x\"\nuser = \"me\"", "user"),
        (
            "[mail]\nserver = \"x\"\nsecurity = \"none\"\nuser = \"me\"\n"
                + "password_file = \"SECRET\"", "security"
        ),
        ("[mail]\nserver = \"x\"\nfrom = \"a@b\"", "to"),
        ("[mail]\nserver = \"x\"\nfrom = \"a\"\nto = [\"c@d\"]", "from"),
        ("[mail]\nserver = \"x\"\nfrom = \"a@b\"\nto = [\"c@d\\r\\nBcc: e@f\"]", "to"),
        ("[mail]\nserver = \"x\"\nfrom = \"a@b\"\nto = [\"<c@d>\"]", "to"),
        ("[snmp]\nreceiver = \"x\"", "community_file"),
        ("[snmp]\nreceiver = \"x\"\nversion = \"1\"", "version"),
        ("[snmp]\nreceiver = \"-x\"\ncommunity_file = \"SECRET\"", "receiver"),
        ("[snmp]\nreceiver = \"x\"\nversion = \"3\"\nuser = \"u\"", "auth_password_file"),
        (
            "[snmp]\nreceiver = \"x\"\nversion = \"3\"\nuser = \"u\"\n"
                + "auth_password_file = \"SECRET\"\nprivacy_password_file = \"SECRET\"\n"
                + "engine_id = \"0x80\"", "engine_id"
        ),
    ])
    func mistakesAreRefusedByName(text: String, place: String) {
        let refusal = #expect(throws: Refusal.self) { try read(text) }
        #expect(refusal?.status == 2)
        #expect(refusal?.what.contains("alerts.toml") == true)
        #expect(refusal?.what.hasSuffix(place) == true, "\(refusal?.line ?? "")")
    }

    @Test func aSecretThatEveryoneCanReadIsRefused() throws {
        chmod(space.path("secret"), 0o644)
        let refusal = #expect(throws: Refusal.self) {
            try read("[webhook]\nurl = \"https://x\"\ntoken_file = \"SECRET\"")
        }
        #expect(refusal?.hint.hasPrefix("chmod 600") == true)
    }
}
