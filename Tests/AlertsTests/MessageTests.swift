import Syscalls
import TestSupport
import Testing

@testable import Alerts

@Suite struct MessageTests {
    private func alert(_ text: String, suppressed: UInt64 = 0) -> Alert {
        Alert(
            mount: "vms", mountpoint: "/srv/vms", host: "cache1",
            event: Event(.datastore, .problem, text), suppressed: suppressed, time: 1_700_000_000)
    }

    @Test func theObjectHoldsEverything() {
        #expect(
            alert("it is \"away\" \\ – gone", suppressed: 3).json
                == #"{"mount":"vms","mountpoint":"/srv/vms","host":"cache1","class":"datastore","#
                + #""state":"problem","text":"it is \"away\" \\ – gone","suppressed":3,"#
                + #""time":"2023-11-14T22:13:20Z"}"#)
    }

    @Test func aMailHasTheHeadersOfRFC5322() {
        let mail = MailMessage(alert("away"), from: "f@example.com", to: ["a@b", "c@d"]).text
        let lines = mail.split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(lines.contains("From: f@example.com"))
        #expect(lines.contains("To: a@b, c@d"))
        #expect(lines.contains("Subject: [forebay] cache1 vms: problem: away"))
        #expect(lines.contains("Date: Tue, 14 Nov 2023 22:13:20 +0000"))
        #expect(lines.contains("Content-Transfer-Encoding: 7bit"))
        #expect(lines.contains { $0.hasPrefix("Message-ID: <") && $0.hasSuffix("@example.com>") })
        #expect(mail.contains("\r\n\r\nmount       vms\r\n"))
        #expect(!mail.contains("suppressed"))
        #expect(mail.unicodeScalars.filter { $0 == "\n" }.count == lines.count - 1)
    }

    /// The text of an event holds names that users gave; it must not become a header or a line of
    /// SMTP.
    @Test(arguments: [
        "x\r\nBcc: evil@example.com", "x\nBcc: evil@example.com", "x\r.\rQUIT", "x\u{85}y\0z",
        "=?utf-8?Q?=0D=0ABcc:?=",
    ])
    func textsStayInTheirLine(text: String) throws {
        let mail = MailMessage(alert(text), from: "f@b", to: ["a@b"]).text
        let header = mail.prefix(upTo: try #require(mail.firstRange(of: "\r\n\r\n")).lowerBound)
        let names = header.split(separator: "\r\n").filter { !$0.hasPrefix(" ") }
            .compactMap { $0.split(separator: ":").first }
        #expect(
            names == [
                "From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
                "Content-Transfer-Encoding", "Auto-Submitted", "X-Forebay-Class",
                "X-Forebay-State",
            ])
        let bare = mail.replacing("\r\n", with: "")
        #expect(!bare.unicodeScalars.contains { $0.value < 32 || $0.value == 127 })
        #expect(!alert(text).json.unicodeScalars.contains { $0.value < 32 })
    }

    @Test func otherThanASCIIIsEncoded() throws {
        let text = String(repeating: "größer ", count: 20)
        let mail = MailMessage(alert(text), from: "f@b", to: ["a@b"]).text
        #expect(mail.utf8.allSatisfy { $0 < 127 })
        #expect(mail.contains("Content-Transfer-Encoding: base64"))
        #expect(mail.split(separator: "\r\n").allSatisfy { $0.utf8.count <= 100 })
        // Another program's reading of it.
        let space = try TemporaryFolder("mail")
        try Files.write(space.path("mail"), mail)
        let script = """
            import email, email.policy, sys
            mail = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.SMTP)
            print(mail["subject"])
            print(mail.get_content())
            """
        let result = try ChildProcess.check(
            "python3", ["-c", script, space.path("mail")],
            environment: ["PYTHONIOENCODING": "utf-8"])
        #expect(result.output.hasPrefix("[forebay] cache1 vms: problem: \(text)"))
        #expect(result.output.contains("text        \(text)"))
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ])
    func base64(text: String, encoded: String) {
        #expect(MailMessage.base64(Array(text.utf8)) == encoded)
    }
}
