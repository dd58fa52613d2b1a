import CLinux
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// A handle names a file for ever: over dropped caches, renames, remounts and lost state.
    @Suite(.serialized) struct IdentityTests {
        private static func prepare(_ folder: String) throws {
            try call { mkdir(folder + "/directory", 0o755) }
            try call { mkdir(folder + "/directory/inner", 0o755) }
            for (index, name) in names.enumerated() {
                try Files.write(folder + "/" + name, [UInt8](repeating: UInt8(index), count: 5000))
            }
        }

        private static let names = ["one", "two", "directory/three", "directory/inner/four"]

        private func withMount(_ body: (ForebayMount) throws -> Void) throws {
            let backing = try TemporaryFolder("identity")
            try Self.prepare(backing.path)
            try withForebay(over: backing.path, options: ["attr_timeout=1"], body)
        }

        private func handles(_ mount: ForebayMount) throws -> [KernelHandle] {
            try (Self.names + ["directory", "directory/inner"]).map {
                try KernelHandle(mount.path($0))
            }
        }

        private func expectAll(
            _ handles: [KernelHandle], _ mount: ForebayMount, within seconds: UInt64 = 0,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            for (index, handle) in handles.enumerated() {
                let isThere = eventually(within: seconds) { handle.failure(mount.path) == nil }
                #expect(isThere, "handle \(index)", sourceLocation: sourceLocation)
                guard isThere, index < Self.names.count else { continue }
                let file = try handle.open(mount.path)
                let expected = [UInt8](repeating: UInt8(index), count: 5000)
                #expect(try file.read(6000) == expected, sourceLocation: sourceLocation)
            }
        }

        @Test func inodesAreTheDatastores() throws {
            try withMount { mount in
                for name in Self.names + ["directory", "directory/inner", ""] {
                    let here = try status(mount.path(name))
                    let there = try status(mount.backingPath(name))
                    #expect(here.inode == there.inode, "\(name)")
                    #expect(here.size == there.size && here.modified == there.modified)
                }
                try Files.write(mount.path("new"), [1])
                #expect(
                    try status(mount.path("new")).inode == status(mount.backingPath("new")).inode)
                try call { mkdir(mount.path("made"), 0o755) }
                #expect(
                    try status(mount.path("made")).inode
                        == status(mount.backingPath("made")).inode)
            }
        }

        @Test func droppedCaches() throws {
            try withMount { mount in
                let handles = try handles(mount)
                for _ in 0..<3 {
                    Machine.dropCaches()
                    try expectAll(handles, mount)
                }
                // A file that was just made, too.
                try Files.write(mount.path("new"), [1, 2, 3])
                let new = try KernelHandle(mount.path("new"))
                Machine.dropCaches()
                #expect(try new.open(mount.path).read(10) == [1, 2, 3])
            }
        }

        @Test func renamedFiles() throws {
            try withMount { mount in
                let handles = try handles(mount)
                try call { rename(mount.path("one"), mount.path("directory/inner/renamed")) }
                try call { rename(mount.path("directory/inner"), mount.path("moved")) }
                try expectAll(handles, mount)
                Machine.dropCaches()
                try expectAll(handles, mount)
                #expect(try KernelHandle(mount.path("moved/renamed")) == handles[0])
                // Renamed behind the mount as well.
                try call { rename(mount.backingPath("two"), mount.backingPath("moved/away")) }
                Machine.dropCaches()
                try expectAll(handles, mount)
            }
        }

        @Test func removedFiles() throws {
            try withMount { mount in
                let handles = try handles(mount)
                try call { unlink(mount.path("one")) }
                #expect(handles[0].failure(mount.path) == .stale)
                // The datastore gives the inode number to the next file; the handle stays stale.
                for number in 0..<20 { try Files.write(mount.path("new-\(number)"), [9]) }
                Machine.dropCaches()
                #expect(handles[0].failure(mount.path) == .stale)
                // Open files live on without a name, found by their handle or not at all.
                let opened = try OpenFile(mount.path("two"), O_RDONLY)
                try call { unlink(mount.path("two")) }
                #expect(try opened.read(at: 0, count: 10) == [UInt8](repeating: 1, count: 10))
                let found = handles[1].failure(mount.path)
                #expect(found == nil || found == .stale)
                // Removed behind the mount.
                try call { unlink(mount.backingPath("directory/three")) }
                Machine.dropCaches()
                #expect(handles[2].failure(mount.path) == .stale)
            }
        }

        @Test func remounts() throws {
            try withMount { mount in
                let handles = try handles(mount)
                for _ in 0..<2 {
                    try mount.unmount()
                    try mount.mount()
                    try expectAll(handles, mount)
                }
                try mount.unmount()
                try call {
                    rename(mount.backingPath("one"), mount.backingPath("directory/renamed"))
                }
                try call { unlink(mount.backingPath("two")) }
                try mount.mount()
                try expectAll([handles[0]], mount)
                #expect(handles[1].failure(mount.path) == .stale)
            }
        }

        /// Without its state the mount finds files again by walking the tree.
        @Test func lostState() throws {
            try withMount { mount in
                let handles = try handles(mount)
                try mount.unmount()
                for name in try Files.names(mount.state) {
                    Files.removeTree(mount.state + "/" + name)
                }
                try mount.mount()
                try expectAll(handles, mount, within: 20)
                #expect(try KernelHandle(mount.path("one")) == handles[0])
                try call { unlink(mount.path("one")) }
                #expect(handles[0].failure(mount.path) == .stale)
            }
        }

        /// More files than descriptors. FOREBAY_TEST_LONG=1 takes 100,000 of them.
        @Test func manyFiles() throws {
            let count = getenv("FOREBAY_TEST_LONG") == nil ? 10_000 : 100_000
            let backing = try TemporaryFolder("many")
            for directory in 0..<count / 1000 {
                let folder = try backing.makeFolder("directory-\(directory)")
                for number in 0..<1000 {
                    let path = "\(folder)/file-\(number)"
                    let raw = try call { CLinux_open(path, O_CREAT | O_WRONLY, 0o644) }
                    pwrite(raw, "\(1000 + number)", 4, 0)
                    close(raw)
                }
            }
            try withForebay(over: backing.path) { mount in
                try mount.unmount()
                let arguments = [
                    "mount", mount.backing, mount.path, "-o", mount.options.joined(separator: ","),
                ]
                let line = "ulimit -n 1024 && exec \"$0\" \"$@\""
                try ChildProcess.check("sh", ["-c", line, try Programs.forebay] + arguments)
                var handles: [KernelHandle] = []
                for directory in 0..<count / 1000 {
                    for number in 0..<1000 {
                        let path = mount.path("directory-\(directory)/file-\(number)")
                        let file = try TestFile(path, O_RDONLY)
                        let found = try file.read(10)
                        try #require(found == Array("\(1000 + number)".utf8))
                        if number % 100 == 0 { handles.append(try KernelHandle(path)) }
                    }
                }
                let server = try mount.serverPid
                let open = try Files.names("/proc/\(server)/fd").count
                #expect(open <= 1024, "\(open) descriptors")
                Machine.dropCaches()
                for handle in handles { #expect(handle.failure(mount.path) == nil) }
            }
        }
    }
}
