import Glibc
import Syscalls

/// An NFSv4 client and what it holds open, as knfsd tells (/proc/fs/nfsd/clients). Clients of
/// version 3 are not known: they open nothing.
package struct ServerClient: Equatable, Sendable {
    /// The folder of the client.
    package let path: String
    /// Where it comes from, without the port.
    package let address: String
    /// Opens, locks and delegations on the file system asked for.
    package let here: Int
    /// The same on all others.
    package let elsewhere: Int

    /// Those that hold something on the file system with this `major:minor`, in decimal.
    package static func holding(_ device: String, _ files: SystemFiles) -> [ServerClient] {
        let folder = "\(files.nfsServer)/clients"
        let numbers = device.split(separator: ":").compactMap { UInt32($0) }
        guard numbers.count == 2 else { return [] }
        let mark = "superblock: \"\(hexadecimal(numbers[0])):\(hexadecimal(numbers[1])):"
        return TextFile.names(in: folder).sorted().compactMap { name in
            let path = "\(folder)/\(name)"
            let states = (TextFile.read("\(path)/states") ?? "").split(separator: "\n")
                .filter { $0.contains("superblock: ") }
            let here = states.count { $0.contains(mark) }
            guard here > 0 else { return nil }
            return ServerClient(
                path: path, address: address(TextFile.read("\(path)/info") ?? ""), here: here,
                elsewhere: states.count - here)
        }
    }

    /// Two digits at least, as the kernel prints them.
    private static func hexadecimal(_ number: UInt32) -> String {
        (number < 16 ? "0" : "") + String(number, radix: 16)
    }

    private static func address(_ information: String) -> String {
        for line in information.split(separator: "\n") where line.hasPrefix("address: ") {
            let text = line.dropFirst(9).filter { $0 != "\"" }
            return text.lastIndex(of: ":").map { String(text[..<$0]) } ?? text
        }
        return "unknown"
    }

    /// Makes knfsd forget the client with everything that it holds. A client that lives comes back
    /// as a new one.
    package func expire() {
        let path = "\(path)/ctl"
        _ = withTimeLimit(milliseconds: 5000) {
            Self.write("expire\n", to: path)
        }
    }

    /// Writes a text into a file of the kernel's in one piece; false when it refuses it.
    @discardableResult
    static func write(_ text: String, to path: String) -> Bool {
        guard let file = try? Descriptor(path: path, flags: O_WRONLY) else { return false }
        let bytes = Array(text.utf8)
        return Glibc.write(file.raw, bytes, bytes.count) == bytes.count
    }
}
