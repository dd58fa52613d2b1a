import Glibc
import Syscalls
import TestSupport
import Testing

@testable import Alerts

/// Channels whose other side wants TLS, with a certificate of the test's own.
@Suite(.serialized) struct EncryptionTests {
    private let space: TemporaryFolder
    private let alert = Alert(
        mount: "vms", mountpoint: "/srv/vms", host: "cache1",
        event: Event(.server, .problem, "the server crashed"), time: 1_700_000_000)

    init() throws {
        space = try TemporaryFolder("tls")
        try Files.write(space.path("secret"), Array("s3cret\n".utf8), mode: 0o600)
        try ChildProcess.check(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                "subjectAltName=IP:127.0.0.1", "-keyout", space.path("key"), "-out",
                space.path("certificate"),
            ])
    }

    /// A process that takes TLS connections and passes them on to a server without.
    private func relay(to port: Int, mode: String) throws -> (process: ChildProcess, port: Int) {
        let process = try ChildProcess(
            "python3",
            ["-c", relayScript, space.path("certificate"), space.path("key"), "\(port)", mode])
        guard eventually(within: 20, { process.outputs.contains("\n") }),
            let port = Int(process.outputs.prefix { $0 != "\n" })
        else { throw TestFailure("no relay: \(process.outputs)") }
        return (process, port)
    }

    private func send(_ text: String) throws {
        let channels = try AlertConfiguration(parsing: text, path: "alerts.toml").channels
        try #require(channels.first).send(alert, milliseconds: 10_000)
    }

    @Test(arguments: ["tls", "starttls"]) func aMailWithAPassword(security: String) throws {
        let server = try FakeMailServer()
        let relay = try relay(to: server.port, mode: security)
        let mail = """
            [mail]
            server = "127.0.0.1"
            port = \(relay.port)
            security = "\(security)"
            user = "forebay"
            password_file = "\(space.path("secret"))"
            from = "forebay@example.com"
            to = ["admin@example.com"]
            """
        // Nobody vouches for the certificate.
        #expect(throws: AlertFailure.self) { try send(mail) }
        #expect(server.mails.isEmpty)
        try send(mail + "\nca_file = \"\(space.path("certificate"))\"")
        let taken = try #require(server.mails.first)
        #expect(taken.to == ["admin@example.com"])
        #expect(taken.login == MailMessage.base64(Array("\0forebay\0s3cret".utf8)))
        relay.process.kill()
    }

    @Test func aWebhookWithAToken() throws {
        let server = try FakeWebServer()
        let relay = try relay(to: server.port, mode: "tls")
        let webhook = """
            [webhook]
            url = "https://127.0.0.1:\(relay.port)/"
            token_file = "\(space.path("secret"))"
            """
        #expect(throws: AlertFailure.self) { try send(webhook) }
        #expect(server.requests.isEmpty)
        try send(webhook + "\nca_file = \"\(space.path("certificate"))\"")
        #expect(server.requests.first?.headers["authorization"] == "Bearer s3cret")
        #expect(server.requests.first?.body == alert.json)
        relay.process.kill()
    }
}

private let relayScript = """
    import socket, ssl, sys, threading

    certificate, key, target, mode = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def copy(source, sink):
        try:
            while data := source.recv(4096):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(plain):
        if mode == "starttls":
            lines = plain.makefile("rb")
            plain.sendall(b"220 relay\\r\\n")
            while not (line := lines.readline()).upper().startswith(b"STARTTLS"):
                if not line:
                    return
                plain.sendall(b"250-relay\\r\\n250 STARTTLS\\r\\n")
            plain.sendall(b"220 go on\\r\\n")
        try:
            secure = context.wrap_socket(plain, server_side=True)
        except OSError:
            return
        other = socket.create_connection(("127.0.0.1", int(target)))
        if mode == "starttls":
            while other.recv(1) != b"\\n":
                pass
        threading.Thread(target=copy, args=(other, secure), daemon=True).start()
        copy(secure, other)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
    """
