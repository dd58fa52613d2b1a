import CCurl
import Policy
import Syscalls

/// Sends each message as a mail by SMTP.
struct MailChannel: AlertChannel {
    let name = "mail"
    let classes: Set<EventClass>
    private let url: String
    private let needsTLS: Bool
    private let authorities: String?
    private let user: String?
    private let password: String?
    private let from: String
    private let to: [String]

    init(_ section: inout ConfigurationSection) throws(Refusal) {
        let server = try section.needed("server")
        guard server.utf8.allSatisfy(Self.isHostByte) else {
            throw section.refusal("server", "'\(server)' is no name or address of a host")
        }
        let security = try section.word(
            "security", of: ["starttls", "tls", "none"], else: "starttls")
        let ports = ["starttls": 587, "tls": 465, "none": 25]
        let port = try section.number("port", in: 1...65535, else: ports[security] ?? 25)
        let host = server.contains(":") ? "[\(server)]" : server
        url = "\(security == "tls" ? "smtps" : "smtp")://\(host):\(port)"
        needsTLS = security != "none"
        authorities = try section.path("ca_file")
        user = try section.text("user")
        password = try section.secret("password_file")
        guard (user == nil) == (password == nil) else {
            throw section.refusal("user", "and password_file go together")
        }
        guard password == nil || needsTLS else {
            throw section.refusal(
                "security", "'none' would send the password for all to read",
                hint: "use starttls or tls")
        }
        from = try section.needed("from")
        to = try section.texts("to") ?? []
        guard (1...Limits.alertReceivers).contains(to.count) else {
            throw section.refusal("to", "names no receiver or too many")
        }
        for address in [from] + to where !Self.isAddress(address) {
            throw section.refusal(
                address == from ? "from" : "to", "'\(address)' is no address",
                hint: "write name@domain")
        }
        classes = try section.classes()
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:".utf8.contains(byte)
    }

    private static func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy { !$0.isEmpty }
            && text.utf8.allSatisfy {
                (33...126).contains($0) && !"<>,;:\"()[]\\".utf8.contains($0)
            }
    }

    func send(_ alert: Alert, milliseconds: UInt64) throws(AlertFailure) {
        let transfer = Transfer(url, milliseconds: milliseconds, authorities: authorities)
        transfer.set(CURLOPT_PROTOCOLS_STR, "smtp,smtps")
        transfer.set(CURLOPT_USE_SSL, needsTLS ? Int(CURLUSESSL_ALL.rawValue) : 0)
        if let user, let password {
            transfer.set(CURLOPT_USERNAME, user)
            transfer.set(CURLOPT_PASSWORD, password)
        }
        transfer.set(CURLOPT_MAIL_FROM, from)
        transfer.set(CURLOPT_MAIL_RCPT, to)
        // One address that is refused must not keep the others from being told.
        transfer.set(CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1)
        transfer.upload(MailMessage(alert, from: from, to: to).text)
        _ = try transfer.run()
    }
}
