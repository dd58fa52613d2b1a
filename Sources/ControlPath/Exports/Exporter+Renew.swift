import Glibc

/// Clients that asked for the export of a mount before it was there.
extension Exporter {
    /// Seconds for which an answer to the NFS server counts, as rpc.mountd(8) has it.
    private static let answerTime = 1800

    /// To be called after a mount; does nothing when it is not exported. The NFS server asks
    /// rpc.mountd(8) once whose a handle is. While nothing is mounted it gets no answer, and does
    /// not ask again for two minutes, in which the client waits. So the answer is given here.
    package func renew(_ mountpoint: String) {
        let identities = active(mountpoint).compactMap(\.identity)
        for line in (TextFile.read("\(files.serverHandles)/content") ?? "").split(separator: "\n") {
            // Questions without an answer stand behind a "#": domain, type and text of the fsid.
            let fields = line.split(separator: " ")
            guard fields.count >= 4, fields[0] == "#", fields[2] == "6",
                let identity = identities.first(where: { Self.words($0) == fields[3] })
            else { continue }
            let bytes = identity.filter { $0 != "-" }
            let path = ExportTable.escape(mountpoint)
            ServerClient.write(
                "\(fields[1]) 6 \\x\(bytes) \(time(nil) + Self.answerTime) \(path)\n",
                to: "\(files.serverHandles)/channel")
        }
    }

    /// A UUID as the kernel shows it: words of four bytes, each as a number of this processor.
    static func words(_ identity: String) -> String {
        let digits = Array(identity.lowercased().filter { $0 != "-" })
        let bytes = stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0...$0 + 1] }
        return "0x"
            + stride(from: 0, to: bytes.count, by: 4).map { word in
                bytes[word..<min(word + 4, bytes.count)].reversed().joined()
            }.joined()
    }
}
