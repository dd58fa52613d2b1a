import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What the processes of a mount tell an administrator.
    @Suite(.serialized) struct AlertTests {
        private let space: TemporaryFolder
        private let backing: String

        init() throws {
            space = try TemporaryFolder("alerts")
            backing = try space.makeFolder("backing")
            try Content.write(space.path("backing/disk"), seed: 7, count: 256)
        }

        /// Runs `body` with a mount whose events go to a script; `more` is more configuration.
        private func withAlerts(_ more: String = "", _ body: (ForebayMount) throws -> Void) throws {
            let hook = "#!/bin/sh\ncat >>\(space.path("told"))\n"
            try Files.write(space.path("hook"), Array(hook.utf8), mode: 0o755)
            try withForebay(over: backing) { mount in
                let path = "/etc/forebay/\(mount.name).alerts.toml"
                mkdir("/etc/forebay", 0o755)
                try Files.write(
                    path, "interval = 1\n[script]\nprogram = \"\(space.path("hook"))\"\n\(more)\n")
                defer { unlink(path) }
                try body(mount)
            }
        }

        /// What the script was told so far: an object on each line.
        private var told: [FlatJSON] {
            let text = (try? Files.text(space.path("told"))) ?? ""
            return text.split(separator: "\n").map { FlatJSON(String($0)) }
        }

        private func states() -> [String] { told.compactMap { $0.text("state") } }

        private func killServer(of mount: ForebayMount) throws {
            let server = try mount.serverPid
            #expect(kill(server, SIGKILL) == 0)
        }

        @Test func theDeathOfAServerAndItsSuccessorAreTold() throws {
            try withAlerts { mount in
                try killServer(of: mount)
                #expect(eventually(within: 20) { states() == ["problem", "recovered"] })
                let problem = try #require(told.first)
                #expect(problem.text("mount") == mount.name)
                #expect(problem.text("mountpoint") == mount.path)
                #expect(problem.text("class") == "server")
                #expect(
                    problem.text("text") == "the server crashed (Killed); another one takes over")
                #expect(told.last?.text("text")?.hasPrefix("a new server serves after") == true)
                #expect(Files.exists("/run/forebay/\(mount.name).alerts"))
                try mount.unmount()
                #expect(!Files.exists("/run/forebay/\(mount.name).alerts"))
            }
        }

        @Test func aMailServerThatHangsTouchesNothingElse() throws {
            let silent = try FakeServer { connection in _ = connection.line() }
            let mail = """
                [mail]
                server = "127.0.0.1"
                port = \(silent.port)
                security = "none"
                from = "forebay@example.com"
                to = ["admin@example.com"]
                """
            try withAlerts(mail) { mount in
                try killServer(of: mount)
                #expect(eventually(within: 20) { states() == ["problem", "recovered"] })
                #expect(eventually(within: 20) { silent.connections > 0 })
                // The first deliveries hang still; events that come now take their own way.
                let deliveries = deliveries(of: mount)
                #expect(!deliveries.isEmpty)
                sleep(milliseconds: 1000)
                try killServer(of: mount)
                #expect(
                    eventually(within: 10) {
                        states() == ["problem", "recovered", "problem", "recovered"]
                    }, "\(states())")
                #expect(self.deliveries(of: mount).contains { deliveries.contains($0) })
                #expect(
                    try Files.haveEqualContents(mount.path("disk"), mount.backingPath("disk")))
                let start = monotonicNanoseconds()
                try mount.unmount()
                #expect(monotonicNanoseconds() - start < .seconds(10))
                #expect(!Files.exists("/run/forebay/\(mount.name).alerts"))
            }
        }

        /// The processes that deliver alerts of a mount.
        private func deliveries(of mount: ForebayMount) -> [Int32] {
            ProcessTable.all().filter {
                $0.arguments.contains("deliver") && $0.arguments.contains(mount.name)
            }.map(\.pid)
        }

        @Test func aStormOfDeathsIsNotAStormOfMessages() throws {
            try withAlerts { mount in
                let path = "/etc/forebay/\(mount.name).alerts.toml"
                let text = try Files.text(path).replacing("interval = 1", with: "interval = 3600")
                try Files.write(path, text)
                var servers: Set<Int32> = []
                for _ in 0..<4 {
                    #expect(
                        eventually(within: 20) {
                            (try? mount.serverPid).map { !servers.contains($0) } == true
                        })
                    servers.insert(try mount.serverPid)
                    try killServer(of: mount)
                }
                #expect(eventually(within: 20) { (try? mount.xattr("restarts")) == "4" })
                let state = "/run/forebay/\(mount.name).alerts"
                #expect(
                    eventually(within: 20) {
                        (try? Files.text(state))?.contains(" closed 3 server notice ") == true
                    }, "\((try? Files.text(state)) ?? "")")
                #expect(states() == ["problem", "recovered"])
            }
        }

        @Test func aConfigurationThatIsWrongIsRefusedByTheTest() throws {
            try withAlerts("[mail]\ntypo = 1") { mount in
                let result = try ChildProcess.run(
                    try Programs.forebay, ["alert", "test", mount.path])
                #expect(result.status == 2)
                #expect(result.errorOutput.contains("[mail] server: is missing"), "\(result.text)")
            }
            try withAlerts { mount in
                let result = try ChildProcess.check(
                    try Programs.forebay, ["alert", "test", mount.path, "--json"])
                #expect(result.output.contains(#""channel":"script","ok":true"#))
                #expect(told.last?.text("class") == "test")
            }
        }

        @Test func aServiceThatCannotMountTellsOnceAndThenThatItCould() throws {
            let state = try space.makeFolder("state")
            let place = space.path("place")
            let name = "service-\(getpid())"
            let path = "/etc/forebay/\(name).alerts.toml"
            let hook = "#!/bin/sh\ncat >>\(space.path("told"))\n"
            try Files.write(space.path("hook"), Array(hook.utf8), mode: 0o755)
            mkdir("/etc/forebay", 0o755)
            try Files.write(
                path, "interval = 3600\n[script]\nprogram = \"\(space.path("hook"))\"\n")
            defer {
                unlink(path)
                unlink("/run/forebay/\(name).alerts")
            }
            let arguments = [
                "mount", backing, place, "--foreground", "-o",
                "ram=16M,name=\(name),state=\(state)",
            ]
            for _ in 0..<2 {
                let result = try ChildProcess.run(try Programs.forebay, arguments)
                #expect(result.status == 1, "\(result.text)")
            }
            #expect(states() == ["problem"])
            #expect(told.first?.text("class") == "configuration")
            #expect(
                told.first?.text("text")?.hasPrefix("the datastore cannot be mounted: ") == true)
            try call { mkdir(place, 0o755) }
            let service = try ChildProcess(try Programs.forebay, arguments)
            defer { Mounts.removeAll(below: place) }
            #expect(eventually(within: 20) { states() == ["problem", "recovered"] }, "\(told)")
            service.signal(SIGTERM)
            #expect(service.wait(seconds: 20)?.status == 0)
            #expect(!Files.exists("/run/forebay/\(name).alerts"))
        }
    }
}
