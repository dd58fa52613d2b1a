import CHash

/// The `fsid=` of an export. Handles of clients contain it, so that it must be the same for ever,
/// on every machine that serves the mount.
package enum ExportIdentity {
    /// The namespace of the names of mounts: never to be changed.
    package static let namespace = "6824f713-331e-426d-b99c-a266ae86c69b"

    /// UUID version 5 (RFC 9562) of a mount's name: what
    /// `uuidgen --sha1 --namespace NAMESPACE --name NAME` prints.
    package static func uuid(name: String) -> String {
        let digits = Array(namespace.utf8.filter { $0 != UInt8(ascii: "-") })
        let space = stride(from: 0, to: digits.count, by: 2).compactMap {
            UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
        }
        let bytes = space + Array(name.utf8)
        var digest = [UInt8](repeating: 0, count: 20)
        CHash_sha1(bytes, bytes.count, &digest)
        digest[6] = digest[6] & 0x0f | 0x50
        digest[8] = digest[8] & 0x3f | 0x80
        var text = ""
        for (index, byte) in digest.prefix(16).enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return text
    }
}
