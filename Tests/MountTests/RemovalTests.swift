import CPosix
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// Unmount, then `make uninstall`: what was there before is there, and nothing else.
    @Suite(.serialized, .enabled(if: Machine.canMount, "needs root and /dev/fuse"))
    struct RemovalTests {
        private let space: TemporaryFolder
        private let backing: String
        private let mountpoint: String
        private let root: String
        private let name = "removal-\(getpid())"

        init() throws {
            space = try TemporaryFolder("removal")
            backing = try space.makeFolder("backing")
            mountpoint = try space.makeFolder("mountpoint")
            root = try space.makeFolder("root")
        }

        private var forebay: String { "\(root)/usr/forebay/bin/forebay" }

        /// Runs scripts/install for the folder `root`, with the programs of this build.
        private func install(_ arguments: String...) throws -> ProgramResult {
            let top = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }
            let environment = [
                "PREFIX": "/usr/forebay", "DESTDIR": root, "BINARIES": Programs.folder,
            ]
            return try ChildProcess.run(
                "\(top)/scripts/install", Array(arguments), environment: environment)
        }

        /// The files and links below a folder, from there; folders are left out.
        private func files(below folder: String) throws -> [String] {
            try ChildProcess.check("find", [folder, "!", "-type", "d", "-printf", "%P\\n"]).output
                .split(separator: "\n").map(String.init).sorted()
        }

        @Test func nothingIsLeft() throws {
            try Content.write("\(backing)/disk", seed: 3, count: 64)
            #expect(try install().status == 0)
            #expect(try files(below: root).contains("sbin/mount.forebay"))
            let state = "\(root)/var/lib/forebay/\(name)"
            try ChildProcess.check(
                forebay,
                ["mount", backing, mountpoint, "-o", "ram=16M,name=\(name),state=\(state)"])
            defer { Mounts.removeAll(below: mountpoint) }
            try work()
            let used = try install("--remove")
            #expect(used.status == 1 && used.errorOutput.contains("serves a mount"), "\(used.text)")
            #expect(try !files(below: state).isEmpty)

            // Not exported: there is nothing to end, and that is no error.
            try ChildProcess.check(forebay, ["unexport", mountpoint])
            try ChildProcess.check(forebay, ["unmount", mountpoint])
            let removed = try install("--remove")
            #expect(removed.status == 0, "\(removed.text)")
            #expect(try files(below: root).isEmpty)
            #expect(!Files.exists("\(root)/var/lib/forebay"))
            #expect(Mounts.at(mountpoint) == nil)
            #expect(try Files.names(mountpoint).isEmpty)
            #expect(try Files.names("/run/forebay").allSatisfy { !$0.hasPrefix(name) })
            let left = ProcessTable.all().filter { process in
                process.arguments.contains { $0.hasPrefix(root) || $0 == mountpoint }
            }
            #expect(left.map(\.arguments).isEmpty)
            try checkDatastore()
        }

        /// What clients do: contents, names and attributes change, caches fill.
        private func work() throws {
            try Content.write("\(mountpoint)/new", seed: 5, count: 16)
            #expect(try Files.haveEqualContents("\(mountpoint)/disk", "\(backing)/disk"))
            try Files.write("\(mountpoint)/gone", "gone")
            try #require(unlink("\(mountpoint)/gone") == 0)
            try #require(mkdir("\(mountpoint)/folder", 0o750) == 0)
            try Files.write("\(mountpoint)/old name", "renamed")
            try #require(rename("\(mountpoint)/old name", "\(mountpoint)/folder/new name") == 0)
            try Files.setXattr("\(mountpoint)/disk", "user.forebay.cache", "pin")
        }

        private func checkDatastore() throws {
            #expect(try files(below: backing) == ["disk", "folder/new name", "new"])
            let plain = try space.makeFolder("plain")
            for (name, seed, count) in [("disk", UInt64(3), 64), ("new", 5, 16)] {
                try Content.write("\(plain)/\(name)", seed: seed, count: count)
                #expect(try Files.haveEqualContents("\(plain)/\(name)", "\(backing)/\(name)"))
            }
            #expect(try Files.text("\(backing)/folder/new name") == "renamed")
            for name in ["", "/disk", "/new", "/folder", "/folder/new name"] {
                var names = [CChar](repeating: 0, count: 4096)
                let count = CPosix_listxattr(backing + name, &names, names.count)
                let text = String(
                    decoding: names.prefix(max(count, 0)).map { UInt8(bitPattern: $0) },
                    as: UTF8.self)
                #expect(!text.contains("forebay"), "\(name): \(text)")
            }
        }

        @Test func whatIsNotKnownStays() throws {
            #expect(try install().status == 0)
            for folder in ["var", "var/lib", "var/lib/forebay", "etc", "etc/forebay"] {
                mkdir("\(root)/\(folder)", 0o755)
            }
            mkdir("\(root)/var/lib/forebay/vms", 0o755)
            for file in ["identity.db", "server.log", "journal"] {
                try Files.write("\(root)/var/lib/forebay/vms/\(file)", "x")
            }
            try Files.write("\(root)/etc/forebay/vms.toml", "ram = 1")
            let result = try install("--remove")
            #expect(result.status == 0)
            for kept in ["var/lib/forebay/vms", "etc/forebay"] {
                #expect(result.output.contains(kept), "\(result.text)")
            }
            #expect(
                try files(below: root) == ["etc/forebay/vms.toml", "var/lib/forebay/vms/journal"])
        }

        @Test func anExportedMountIsNotUninstalled() throws {
            #expect(try install().status == 0)
            for folder in ["etc", "etc/exports.d"] { mkdir("\(root)/\(folder)", 0o755) }
            try Files.write("\(root)/etc/exports.d/forebay-vms.exports", "")
            let result = try install("--remove")
            #expect(result.status == 1 && result.errorOutput.contains("unexport"), "\(result.text)")
            #expect(access(forebay, X_OK) == 0)
        }
    }
}
