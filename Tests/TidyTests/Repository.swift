import Glibc

/// The files of this repository, as the tidy tests read them.
enum Repository {
    /// A file: its path from the top of the repository, and its lines without the line feeds.
    struct File {
        let path: String
        let lines: [Substring]

        /// `path:number`, as compilers write it.
        func place(_ index: Int) -> String { "\(path):\(index + 1)" }
    }

    /// The top of the repository, three levels above this file.
    static let top: String = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return parts.joined(separator: "/")
    }()

    /// The files below some folders whose names end in one of the suffixes; "" matches all.
    static func files(below folders: [String], suffixes: [String]) -> [File] {
        folders.flatMap { paths(below: $0) }
            .filter { path in suffixes.contains { $0.isEmpty || path.hasSuffix($0) } }
            .sorted()
            .compactMap(file)
    }

    /// One file, or nil when there is none of that path or it is no text.
    static func file(_ path: String) -> File? {
        guard let bytes = contents(path), let text = String(validating: bytes, as: UTF8.self)
        else { return nil }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last == "" { lines.removeLast() }
        return File(path: path, lines: lines)
    }

    /// Whether someone may run the file.
    static func isExecutable(_ path: String) -> Bool { access(top + "/" + path, X_OK) == 0 }

    private static func paths(below folder: String) -> [String] {
        guard let stream = opendir(top + "/" + folder) else { return [] }
        defer { closedir(stream) }
        var found: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            if name == "." || name == ".." || name == ".build" || name == "__pycache__" {
                continue
            }
            let path = folder + "/" + name
            switch Int(entry.pointee.d_type) {
            case Int(DT_DIR): found += paths(below: path)
            case Int(DT_REG): found.append(path)
            default: continue
            }
        }
        return found
    }

    private static func contents(_ path: String) -> [UInt8]? {
        guard let stream = fopen(top + "/" + path, "r") else { return nil }
        defer { fclose(stream) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&chunk, 1, chunk.count, stream)
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
    }
}

extension Substring {
    /// The spaces that the line begins with.
    var indentation: Int { prefix { $0 == " " }.count }

    /// The line without the spaces around it.
    var trimmed: Substring {
        var text = drop { $0 == " " || $0 == "\t" }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }

    /// The line without what stands in quotation marks.
    var withoutLiterals: String {
        split(separator: "\"", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 0 }.map { String($0.element) }.joined(separator: "\"\"")
    }

    /// Whether the text occurs with no letter, digit or underscore next to it.
    func containsWord(_ word: String) -> Bool {
        ranges(of: word).contains { range in
            let before =
                range.lowerBound == startIndex ? nil : self[index(before: range.lowerBound)]
            let after = range.upperBound == endIndex ? nil : self[range.upperBound]
            return !isPart(of: word.first, before) && !isPart(of: word.last, after)
        }
    }

    private func isPart(of edge: Character?, _ neighbour: Character?) -> Bool {
        func isWordly(_ character: Character?) -> Bool {
            guard let character else { return false }
            return character.isLetter || character.isNumber || character == "_"
        }
        return isWordly(edge) && isWordly(neighbour)
    }
}
