import Glibc

/// What the NFS server exports, as the files of exports(5) and its table etab say.
package enum ExportTable {
    /// A folder that is exported to one client, or to one kind of clients.
    package struct Entry: Equatable, Sendable {
        package let path: String
        package let client: String
        package let options: [String]
        /// `FILE line N`, for messages.
        package let place: String

        package init(path: String, client: String, options: [String], place: String) {
            self.path = path
            self.client = client
            self.options = options
            self.place = place
        }

        /// True when the option stands there; etab has every option, the files need not.
        package func has(_ option: String) -> Bool { options.contains(option) }

        /// True for exports that clients may write to: `ro` is the default, the last one counts.
        package var isWritable: Bool { options.last { $0 == "rw" || $0 == "ro" } == "rw" }

        /// The text behind `fsid=`.
        package var identity: String? {
            options.last { $0.hasPrefix("fsid=") }.map { String($0.dropFirst(5)) }
        }

        /// True when knfsd looks whether the folder is a mount before it exports it.
        package var needsMount: Bool {
            options.contains { ["mountpoint", "mp"].contains($0.prefix { $0 != "=" }) }
        }

        /// True when file systems mounted below come with it.
        package var crossesMounts: Bool { has("crossmnt") || has("nohide") }
    }

    /// What is exported now.
    package static func active(_ files: SystemFiles) -> [Entry] {
        parse(TextFile.read(files.activeExports) ?? "", file: files.shown(files.activeExports))
    }

    /// What the files say, /etc/exports first; exportfs(8) reads those of the folder whose names
    /// end so.
    package static func configured(_ files: SystemFiles) -> [Entry] {
        let more = TextFile.names(in: files.exportsFolder).sorted()
            .filter { $0.hasSuffix(".exports") && !$0.hasPrefix(".") }
            .map { "\(files.exportsFolder)/\($0)" }
        return ([files.exports] + more).flatMap { file in
            parse(TextFile.read(file) ?? "", file: files.shown(file))
        }
    }

    /// The entries of a text in the form of exports(5): a path, then clients with their options in
    /// parentheses; `-OPTIONS` before them are for all. What is not understood is left out.
    package static func parse(_ text: String, file: String) -> [Entry] {
        var reader = ExportLineReader(text)
        var entries: [Entry] = []
        while let line = reader.next() {
            guard let path = line.words.first, path.hasPrefix("/") else { continue }
            let place = "\(file) line \(line.number)"
            var common: [String] = []
            var clients = line.words.dropFirst()
            while let word = clients.first, word.hasPrefix("-") {
                common += words(word.dropFirst())
                clients.removeFirst()
            }
            if clients.isEmpty { clients = ["*"] }
            for word in clients {
                let name = word.prefix { $0 != "(" }
                let inside = word.dropFirst(name.count + 1).prefix { $0 != ")" }
                entries.append(
                    Entry(
                        path: path, client: name.isEmpty ? "*" : String(name),
                        options: common + words(inside), place: place))
            }
        }
        return entries
    }

    private static func words(_ text: Substring) -> [String] {
        text.split(separator: ",").map(String.init)
    }

    /// A path as it stands in exports(5): what would end it, and the signs of quotation, become
    /// three octal digits behind a backslash.
    package static func escape(_ path: String) -> String {
        var bytes: [UInt8] = []
        for byte in path.utf8 {
            if byte <= 32 || byte == 127 || "\"\\#".utf8.contains(byte) {
                bytes += [
                    UInt8(ascii: "\\"), 48 + (byte >> 6), 48 + (byte >> 3 & 7), 48 + (byte & 7),
                ]
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
