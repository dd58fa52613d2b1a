import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

@testable import Alerts

/// SNMP against the trap receiver of net-snmp.
@Suite(.serialized) struct TrapTests {
    private let space: TemporaryFolder
    private let alert = Alert(
        mount: "vms", mountpoint: "/srv/vms", host: "cache1",
        event: Event(.server, .problem, "the server crashed"), suppressed: 4, time: 1_700_000_000)

    init() throws {
        space = try TemporaryFolder("traps")
        for (name, text) in [
            ("community", "com-mun.ity"), ("auth", "auth pass\"phrase"),
            ("privacy", "priv\\acy 1"),
        ] { try Files.write(space.path(name), Array((text + "\n").utf8), mode: 0o600) }
        try BaseModules.write(to: try space.makeFolder("base"))
    }

    private static let engine = "0x80001f8804666f7265626179"

    /// A receiver that prints what it takes, with the project's names for it.
    private func receiver(_ settings: String) throws -> (process: ChildProcess, port: Int) {
        let port = try LocalAddress.freeDatagramPort()
        try Files.write(space.path("snmptrapd.conf"), settings + "\n")
        let process = try ChildProcess(
            "/usr/sbin/snmptrapd",
            [
                "-f", "-C", "-c", space.path("snmptrapd.conf"), "-Lo", "-Of",
                "-M", "\(space.path("base")):\(Self.modules)", "-m", "FOREBAY-MIB",
                "udp:127.0.0.1:\(port)",
            ], environment: ["SNMP_PERSISTENT_DIR": try space.makeFolder("receiver")])
        // 0100007F is 127.0.0.1 as the kernel prints it.
        let hexadecimal = String(port, radix: 16, uppercase: true)
        let entry = "0100007F:" + String(repeating: "0", count: 4 - hexadecimal.count) + hexadecimal
        guard
            eventually(
                within: 20, { (try? Files.text("/proc/net/udp"))?.contains(entry) == true })
        else { throw TestFailure("snmptrapd does not listen: \(process.outputs)") }
        return (process, port)
    }

    /// The folder of FOREBAY-MIB.
    private static var modules: String {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return (parts + ["docs", "mibs"]).joined(separator: "/")
    }

    private func send(_ text: String, _ port: Int) throws {
        let text = "[snmp]\nreceiver = \"127.0.0.1\"\nport = \(port)\n" + text
        let channels = try AlertConfiguration(parsing: text, path: "alerts.toml").channels
        try #require(channels.first).send(alert, milliseconds: 10_000)
    }

    /// What the receiver prints of `alert`.
    private static let printed = [
        "forebayProblem", "forebayMount.0 = STRING: vms", "forebayMountpoint.0 = STRING: /srv/vms",
        "forebayHost.0 = STRING: cache1", "forebayClass.0 = STRING: server",
        "forebayState.0 = INTEGER: problem(1)", "forebayText.0 = STRING: the server crashed",
        "forebaySuppressed.0 = Gauge32: 4",
        "forebayTime.0 = STRING: 2023-11-14,22:13:20.0,+0:0",
    ]

    private func expectPrinted(_ process: ChildProcess) {
        _ = eventually(within: 10) { process.outputs.contains("forebayTime.0") }
        for text in Self.printed {
            #expect(process.outputs.contains(text), "\(text) in \(process.outputs)")
        }
    }

    private var version2: String {
        "version = \"2c\"\ncommunity_file = \"\(space.path("community"))\""
    }

    private var version3: String {
        """
        version = "3"
        user = "forebay"
        auth_protocol = "SHA-256"
        auth_password_file = "\(space.path("auth"))"
        privacy_password_file = "\(space.path("privacy"))"
        """
    }

    private var user: String {
        "SHA-256 \"auth pass\\\"phrase\" AES \"priv\\\\acy 1\"\nauthUser log forebay priv"
    }

    @Test(arguments: [false, true]) func versionTwo(isInform: Bool) throws {
        let receiver = try receiver("authCommunity log com-mun.ity")
        try send(version2 + "\ninform = \(isInform)", receiver.port)
        expectPrinted(receiver.process)
    }

    @Test func versionThreeWithAuthenticationAndPrivacy() throws {
        let receiver = try receiver("createUser -e \(Self.engine) forebay \(user)")
        try send(version3 + "\nengine_id = \"\(Self.engine)\"", receiver.port)
        expectPrinted(receiver.process)
        // A later process must not look like a replay of the first one's message.
        try send(version3 + "\nengine_id = \"\(Self.engine)\"", receiver.port)
        #expect(
            eventually(within: 10) {
                receiver.process.outputs.ranges(of: "forebayTime.0").count == 2
            }, "\(receiver.process.outputs)")
    }

    @Test func versionThreeAsAnInform() throws {
        let receiver = try receiver("createUser forebay \(user)")
        try send(version3 + "\ninform = true", receiver.port)
        expectPrinted(receiver.process)
    }

    @Test func anInformThatNobodyTakesFails() throws {
        let port = try LocalAddress.freeDatagramPort()
        #expect(throws: AlertFailure.self) { try send(version2 + "\ninform = true", port) }
    }

    @Test func secretsAreNeitherInArgumentsNorLeftBehind() throws {
        let log = space.path("log")
        let script = """
            #!/bin/sh
            tr '\\0' ' ' </proc/$$/cmdline >\(log)
            stat -c %a "$SNMPCONFPATH" "$SNMPCONFPATH/snmp.conf" >>\(log)
            echo "$SNMPCONFPATH" >\(space.path("folder"))
            """
        try Files.write(space.path("snmptrap"), Array(script.utf8), mode: 0o755)
        try send(
            version3 + "\nprogram = \"\(space.path("snmptrap"))\"\ninform = true", 162)
        let seen = try Files.text(log)
        #expect(seen.contains("-v 3"))
        #expect(!seen.contains("auth pass") && !seen.contains("acy 1"), "\(seen)")
        #expect(seen.hasSuffix("700\n600\n"), "\(seen)")
        let folder = try Files.text(space.path("folder")).split(separator: "\n")
        #expect(!Files.exists(String(try #require(folder.first))))
    }

    // MARK: - The module

    @Test(arguments: [
        ("forebayProblem", ".0.1"), ("forebayRecovered", ".0.2"), ("forebayNotice", ".0.3"),
        ("forebayMount", ".1.1"), ("forebayTime", ".1.8"), ("forebayCompliance", ".2.2.1"),
    ])
    func namesOfTheModule(name: String, number: String) throws {
        // It would tell of the folders that it makes where there are none.
        let state = try space.makeFolder("state")
        _ = try space.makeFolder("state/cert_indexes")
        let result = try ChildProcess.check(
            "snmptranslate",
            [
                "-Pew", "-M", "\(space.path("base")):\(Self.modules)", "-m", "FOREBAY-MIB", "-On",
                "FOREBAY-MIB::\(name)",
            ], environment: ["SNMP_PERSISTENT_DIR": state])
        #expect(result.output == ".1.3.6.1.4.1.8072.9999.9999.20049\(number)\n")
        #expect(result.errorOutput == "")
    }
}

/// The modules that FOREBAY-MIB imports, as far as it needs them: Debian does not have the IETF's.
private enum BaseModules {
    static func write(to folder: String) throws {
        for (name, body) in texts {
            try Files.write("\(folder)/\(name)", "\(name) DEFINITIONS ::= BEGIN\n\(body)\nEND\n")
        }
    }

    private static let texts = [
        (
            "SNMPv2-SMI",
            """
            internet OBJECT IDENTIFIER ::= { iso 3 6 1 }
            private OBJECT IDENTIFIER ::= { internet 4 }
            enterprises OBJECT IDENTIFIER ::= { private 1 }
            """
        ),
        ("SNMPv2-CONF", ""),
        (
            "SNMPv2-TC",
            """
            DateAndTime ::= TEXTUAL-CONVENTION
                DISPLAY-HINT "2d-1d-1d,1d:1d:1d.1d,1a1d:1d"
                STATUS current
                DESCRIPTION ""
                SYNTAX OCTET STRING (SIZE (8 | 11))
            """
        ),
        (
            "SNMP-FRAMEWORK-MIB",
            """
            IMPORTS TEXTUAL-CONVENTION FROM SNMPv2-TC;
            SnmpAdminString ::= TEXTUAL-CONVENTION
                DISPLAY-HINT "255t"
                STATUS current
                DESCRIPTION ""
                SYNTAX OCTET STRING (SIZE (0..255))
            """
        ),
    ]
}
