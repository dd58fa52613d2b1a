import Glibc
import Syscalls

/// A mail of one alert (RFC 5322, MIME of RFC 2045 to 2047).
package struct MailMessage: Sendable {
    private let alert: Alert
    private let from: String
    private let to: [String]

    /// Addresses are bare, without names and angle brackets.
    package init(_ alert: Alert, from: String, to: [String]) {
        self.alert = alert
        self.from = from
        self.to = to
    }

    /// All of it, with CR LF at the end of each line.
    package var text: String {
        let isPlain = Self.isPlain(body)
        let domain = from.split(separator: "@").last ?? "localhost"
        let number = UInt64.random(in: 0...UInt64.max)
        let headers = [
            "From: \(from)", "To: \(to.joined(separator: ", "))",
            "Subject: \(Self.header(alert.title))",
            "Date: \(alert.time("%a, %d %b %Y %H:%M:%S +0000"))",
            "Message-ID: <\(alert.time).\(String(number, radix: 36))@\(domain)>",
            "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: \(isPlain ? "7bit" : "base64")",
            "Auto-Submitted: auto-generated", "X-Forebay-Class: \(alert.event.eventClass)",
            "X-Forebay-State: \(alert.event.state)",
        ]
        let content = isPlain ? body : Self.wrapped(Self.base64(Array(body.utf8)))
        let lines = headers + [""] + content.split(separator: "\n").map { String($0) }
        return lines.map { $0 + "\r\n" }.joined()
    }

    private var body: String {
        let rows = alert.fields.filter { $0.name != "suppressed" || alert.suppressed > 0 }
        let texts = rows.map { name, value in
            let title = name == "suppressed" ? "besides" : name
            let padding = String(repeating: " ", count: 12 - title.count)
            let more = name == "suppressed" ? " more events of this class" : ""
            return "\(title)\(padding)\(value)\(more)\n"
        }
        return texts.joined()
    }

    // MARK: - Encodings

    /// Printable ASCII and line feeds, in lines that SMTP takes.
    private static func isPlain(_ text: String) -> Bool {
        text.utf8.allSatisfy { (32...126).contains($0) || $0 == 10 }
            && text.split(separator: "\n").allSatisfy { $0.utf8.count < 900 }
    }

    /// A text as it stands in a header: as it is, or in encoded words of at most 75 characters,
    /// each in a line of its own. A scalar is never divided (RFC 2047, section 5).
    package static func header(_ text: String) -> String {
        if isPlain(text), !text.contains("\n"), !text.contains("=?") { return text }
        var words: [String] = []
        var bytes: [UInt8] = []
        for scalar in text.unicodeScalars {
            let more = Array(String(scalar).utf8)
            if bytes.count + more.count > 45 {
                words.append("=?utf-8?B?\(base64(bytes))?=")
                bytes = []
            }
            bytes += more
        }
        words.append("=?utf-8?B?\(base64(bytes))?=")
        return words.joined(separator: "\r\n ")
    }

    /// The base64 of RFC 4648, with padding.
    package static func base64(_ bytes: [UInt8]) -> String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let padded = Array(group) + Array(repeating: 0, count: 3 - group.count)
            let word = Int(padded[0]) << 16 | Int(padded[1]) << 8 | Int(padded[2])
            for place in 0..<4 {
                let digit = digits[word >> (18 - 6 * place) & 63]
                text.append(place <= group.count ? digit : UInt8(ascii: "="))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func wrapped(_ text: String) -> String {
        let bytes = Array(text.utf8)
        return stride(from: 0, to: bytes.count, by: 76).map {
            String(decoding: bytes[$0..<min($0 + 76, bytes.count)], as: UTF8.self)
        }.joined(separator: "\n")
    }
}
