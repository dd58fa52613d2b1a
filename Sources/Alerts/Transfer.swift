import CCurl
import Glibc
import Policy
import Syscalls

/// One transfer of libcurl(3). Options are kept until `run`; the first that libcurl does not take
/// fails the transfer.
final class Transfer {
    private let handle: OpaquePointer?
    private var lists: [UnsafeMutablePointer<curl_slist>] = []
    private var streams: [UnsafeMutablePointer<FILE>] = []
    private var body: UnsafeMutableBufferPointer<CChar>?
    private var failure: CURLcode = CURLE_OK

    // Must happen once, before there are threads.
    private static let isReady = curl_global_init(Int(CURL_GLOBAL_ALL)) == CURLE_OK

    /// A transfer to an address that may take so many milliseconds. Certificates are checked
    /// against those of the system, or against `authorities`.
    init(_ url: String, milliseconds: UInt64, authorities: String?) {
        handle = Self.isReady ? OpaquePointer(curl_easy_init()) : nil
        set(CURLOPT_URL, url)
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_TIMEOUT_MS, Int(milliseconds))
        set(CURLOPT_CONNECTTIMEOUT_MS, Int(milliseconds))
        if let authorities { set(CURLOPT_CAINFO, authorities) }
        // What the other side says is of no interest; without this it would be printed.
        if let nowhere = fopen("/dev/null", "we") {
            streams.append(nowhere)
            note(CCurl_set_pointer(raw, CURLOPT_WRITEDATA, nowhere))
        }
    }

    deinit {
        if let handle { curl_easy_cleanup(UnsafeMutableRawPointer(handle)) }
        for list in lists { curl_slist_free_all(list) }
        for stream in streams { fclose(stream) }
        body?.deallocate()
    }

    private var raw: UnsafeMutableRawPointer? { handle.map { UnsafeMutableRawPointer($0) } }

    private func note(_ code: CURLcode) { if failure == CURLE_OK { failure = code } }

    /// Sets an option that is a text.
    func set(_ option: CURLoption, _ value: String) {
        note(CCurl_set_text(raw, option, value))
    }

    /// Sets an option that is a number.
    func set(_ option: CURLoption, _ value: Int) {
        note(CCurl_set_number(raw, option, value))
    }

    /// Sets an option that is a list.
    func set(_ option: CURLoption, _ values: [String]) {
        var list: UnsafeMutablePointer<curl_slist>?
        for value in values {
            guard let longer = curl_slist_append(list, value) else {
                return note(CURLE_OUT_OF_MEMORY)
            }
            list = longer
        }
        guard let list else { return }
        lists.append(list)
        note(CCurl_set_pointer(raw, option, list))
    }

    /// Uploads a text.
    func upload(_ text: String) {
        let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: text.utf8.count)
        _ = copy.initialize(from: text.utf8.map { CChar(bitPattern: $0) })
        body = copy
        guard let stream = fmemopen(copy.baseAddress, copy.count, "r") else {
            return note(CURLE_OUT_OF_MEMORY)
        }
        streams.append(stream)
        set(CURLOPT_UPLOAD, 1)
        note(CCurl_set_pointer(raw, CURLOPT_READDATA, stream))
    }

    /// Does it, and answers the last status code of the protocol.
    func run() throws(AlertFailure) -> Int {
        guard let raw, failure == CURLE_OK else {
            throw AlertFailure("libcurl: \(String(cString: curl_easy_strerror(failure)))")
        }
        var reason = [CChar](repeating: 0, count: Int(CURL_ERROR_SIZE))
        let code = reason.withUnsafeMutableBufferPointer { buffer in
            _ = CCurl_set_pointer(raw, CURLOPT_ERRORBUFFER, buffer.baseAddress)
            defer { _ = CCurl_set_pointer(raw, CURLOPT_ERRORBUFFER, nil) }
            return curl_easy_perform(raw)
        }
        guard code == CURLE_OK else {
            let bytes = reason.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            let said = String(decoding: bytes, as: UTF8.self)
            throw AlertFailure(
                said.isEmpty ? String(cString: curl_easy_strerror(code)) : said)
        }
        var status = 0
        _ = CCurl_get_number(raw, CURLINFO_RESPONSE_CODE, &status)
        return status
    }
}
