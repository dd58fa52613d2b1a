import Glibc
import Policy

/// Whom a mount is exported to, in the forms of exports(5): a host, an address, a network, a
/// netgroup or a pattern of host names.
package struct ExportClient: Hashable, Sendable {
    package enum Kind: Sendable {
        case host, address, network, netgroup, pattern
    }

    /// As the server's tables write it: IPv6 without brackets, in its shortest form.
    package let text: String
    package let kind: Kind

    /// Reads a client; brackets around IPv6 are welcome. Throws a refusal with exit status 2.
    package init(_ text: String) throws(Refusal) {
        if text.hasPrefix("@") {
            kind = .netgroup
            guard Self.isName(text.dropFirst()) else {
                throw Self.refusal(text, "is not the name of a netgroup")
            }
            self.text = text
            return
        }
        if text.contains(":") || text.contains("/") || Self.isAddress(text, AF_INET) {
            (self.text, kind) = try Self.network(text)
            return
        }
        let isPattern = text.contains { "*?[]".contains($0) }
        kind = isPattern ? .pattern : .host
        guard Self.isName(text.filter { !isPattern || !"*?[]".contains($0) }) || text == "*" else {
            throw Self.refusal(text, "is not a host, an address, a network or a netgroup")
        }
        self.text = text
    }

    /// The clients of a list with commas, each once, in its order; at least one.
    package static func list(_ texts: [String]) throws(Refusal) -> [ExportClient] {
        var clients: [ExportClient] = []
        for text in texts.flatMap({ $0.split(separator: ",", omittingEmptySubsequences: false) }) {
            let client = try ExportClient(String(text))
            if !clients.contains(client) { clients.append(client) }
        }
        guard !clients.isEmpty else { throw refusal("", "names nobody") }
        return clients
    }

    /// True when every machine that reaches this one is meant.
    package var isEveryone: Bool {
        text == "*" || kind == .network && (text.hasSuffix("/0") || text.hasSuffix("/0.0.0.0"))
    }

    /// The name under which the server's table lists a host: what the name service calls it. Nil
    /// when the host is not known, or the name service does not answer in time.
    package var canonical: String? {
        guard kind == .host else { return text }
        let host = text
        let name = withTimeLimit(milliseconds: 20_000) { () -> String? in
            var hints = addrinfo()
            hints.ai_flags = AI_CANONNAME
            var first: UnsafeMutablePointer<addrinfo>?
            guard getaddrinfo(host, nil, &hints, &first) == 0, let first else { return nil }
            defer { freeaddrinfo(first) }
            return first.pointee.ai_canonname.map { String(cString: $0) } ?? host
        }
        return name ?? nil
    }

    /// CLIENT:PATH as an argument of exportfs(8), which wants brackets around IPv6 addresses.
    static func argument(client: String, path: String) -> String {
        guard client.contains(":") else { return "\(client):\(path)" }
        let parts = client.split(separator: "/", maxSplits: 1)
        let prefix = parts.count > 1 ? "/\(parts[1])" : ""
        return "[\(parts[0])]\(prefix):\(path)"
    }

    // MARK: - Reading

    private static func network(_ text: String) throws(Refusal) -> (String, Kind) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        var host = parts[0]
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        let isLong = host.contains(":")
        guard parts.count <= 2, isAddress(host, isLong ? AF_INET6 : AF_INET) else {
            throw refusal(text, "is not an address")
        }
        if isLong { host = shortest(host) }
        guard parts.count == 2 else { return (host, .address) }
        if !isLong, isAddress(parts[1], AF_INET) {
            guard isMask(parts[1]) else { throw refusal(text, "has a mask with gaps") }
            return ("\(host)/\(parts[1])", .network)
        }
        guard let bits = UInt8(parts[1]), bits <= (isLong ? 128 : 32), String(bits) == parts[1]
        else { throw refusal(text, "has no usable length of its prefix") }
        return ("\(host)/\(bits)", .network)
    }

    private static func isAddress(_ text: String, _ family: Int32) -> Bool {
        var bytes = in6_addr()
        return inet_pton(family, text, &bytes) == 1
    }

    private static func shortest(_ address: String) -> String {
        var bytes = in6_addr()
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard inet_pton(AF_INET6, address, &bytes) == 1,
            inet_ntop(AF_INET6, &bytes, &text, socklen_t(text.count)) != nil
        else { return address }
        return String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// True when no one follows a zero.
    private static func isMask(_ text: String) -> Bool {
        var bytes = in_addr()
        guard inet_pton(AF_INET, text, &bytes) == 1 else { return false }
        let rest = ~UInt32(bigEndian: bytes.s_addr)
        return rest & (rest &+ 1) == 0
    }

    private static func isName(_ text: some StringProtocol) -> Bool {
        (1...255).contains(text.utf8.count) && !text.hasPrefix("-")
            && text.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
                    UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    private static func refusal(_ text: String, _ why: String) -> Refusal {
        .usage(
            "--to \(text)", why,
            hint: "write for example 10.0.0.0/24,esx1.example.com,@hypervisors")
    }
}
