import Synchronization
import Syscalls

/// A mail server that takes every mail and keeps it (RFC 5321, as far as a client needs it).
package final class FakeMailServer: Sendable {
    /// A mail as it came.
    package struct Mail: Sendable {
        package let from: String
        package let to: [String]
        /// `user` and password as one text with NULs (SASL PLAIN, in base64); nil without.
        package let login: String?
        package let lines: [String]
    }

    private let server: FakeServer
    private let taken: Mailbox

    private final class Mailbox: Sendable {
        let mails = Mutex<[Mail]>([])
        let refused: Set<String>

        init(refused: Set<String>) { self.refused = refused }

        func serve(_ connection: FakeServer.Connection) {
            connection.answer("220 fake ESMTP")
            var (from, to, login) = ("", [String](), String?.none)
            while let line = connection.line() {
                let verb = line.prefix(4).uppercased()
                switch verb {
                case "EHLO":
                    connection.answer("250-fake")
                    connection.answer("250 AUTH PLAIN")
                case "AUTH":
                    // `AUTH PLAIN` alone asks to be asked (RFC 4954).
                    connection.answer("334 ")
                    login = connection.line()
                    connection.answer("235 fine")
                case "MAIL":
                    (from, to) = (Self.address(line), [])
                    connection.answer("250 fine")
                case "RCPT":
                    let address = Self.address(line)
                    let isRefused = refused.contains(address)
                    if !isRefused { to.append(address) }
                    connection.answer(isRefused ? "550 nobody here" : "250 fine")
                case "DATA":
                    connection.answer(to.isEmpty ? "554 no receivers" : "354 go on")
                    guard !to.isEmpty else { continue }
                    var lines: [String] = []
                    while let line = connection.line(), line != "." { lines.append(line) }
                    let mail = Mail(from: from, to: to, login: login, lines: lines)
                    mails.withLock { $0.append(mail) }
                    connection.answer("250 taken")
                case "QUIT":
                    connection.answer("221 bye")
                    return
                default: connection.answer("250 fine")
                }
            }
        }

        private static func address(_ line: String) -> String {
            let tail = line.split(separator: "<").last ?? ""
            return String(tail.prefix { $0 != ">" })
        }
    }

    /// Receivers in `refused` are told that they are not known.
    package init(refused: Set<String> = []) throws(Errno) {
        let taken = Mailbox(refused: refused)
        self.taken = taken
        server = try FakeServer { taken.serve($0) }
    }

    package var port: Int { server.port }
    package var mails: [Mail] { taken.mails.withLock { $0 } }
}

/// A web server that takes every POST and keeps it.
package final class FakeWebServer: Sendable {
    /// A request as it came.
    package struct Request: Sendable {
        /// The first line.
        package let line: String
        /// By lower-case name.
        package let headers: [String: String]
        package let body: String
    }

    private let server: FakeServer
    private let taken = Taken()

    private final class Taken: Sendable {
        let requests = Mutex<[Request]>([])
        let status = Mutex(200)
    }

    package init() throws(Errno) {
        let taken = taken
        server = try FakeServer { connection in
            while let line = connection.line() {
                var headers: [String: String] = [:]
                while let header = connection.line(), !header.isEmpty {
                    let parts = header.split(separator: ":", maxSplits: 1)
                    headers[parts[0].lowercased()] = String(parts.last?.dropFirst() ?? "")
                }
                let length = headers["content-length"].flatMap { Int($0) } ?? 0
                let body = connection.text(length) ?? ""
                taken.requests.withLock {
                    $0.append(Request(line: line, headers: headers, body: body))
                }
                connection.answer("HTTP/1.1 \(taken.status.withLock { $0 }) so")
                connection.answer("Content-Length: 0\r\n")
            }
        }
    }

    /// Answers with this status from now on.
    package func answer(status: Int) { taken.status.withLock { $0 = status } }

    package var port: Int { server.port }
    package var requests: [Request] { taken.requests.withLock { $0 } }
}
