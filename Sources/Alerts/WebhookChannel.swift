import CCurl
import Policy
import Syscalls

/// Sends each message as a JSON object by HTTP POST. A status of 200 to 299 means that it was
/// told; redirections are not followed.
struct WebhookChannel: AlertChannel {
    let name = "webhook"
    let classes: Set<EventClass>
    private let url: String
    private let token: String?
    private let authorities: String?

    init(_ section: inout ConfigurationSection) throws(Refusal) {
        url = try section.needed("url")
        guard url.hasPrefix("https://") || url.hasPrefix("http://"), !url.contains(" ") else {
            throw section.refusal(
                "url", "is no usable address", hint: "begin it with https://")
        }
        token = try section.secret("token_file")
        authorities = try section.path("ca_file")
        classes = try section.classes()
    }

    func send(_ alert: Alert, milliseconds: UInt64) throws(AlertFailure) {
        let transfer = Transfer(url, milliseconds: milliseconds, authorities: authorities)
        transfer.set(CURLOPT_PROTOCOLS_STR, "http,https")
        var headers = ["Content-Type: application/json", "User-Agent: forebay/\(Version.text)"]
        if let token { headers.append("Authorization: Bearer \(token)") }
        transfer.set(CURLOPT_HTTPHEADER, headers)
        transfer.set(CURLOPT_COPYPOSTFIELDS, alert.json)
        let status = try transfer.run()
        guard (200...299).contains(status) else {
            throw AlertFailure("the server answered with status \(status)")
        }
    }
}
