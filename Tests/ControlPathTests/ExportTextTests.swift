import ControlPath
import Policy
import Testing

/// Names and texts of exports: identities, exports(5), clients.
@Suite struct ExportTextTests {
    /// Python's uuid.uuid5 and uuidgen(1) give the same.
    @Test(arguments: [
        ("vms", "5d7f49b9-e46a-55b1-a7f3-ffb1bf8043b9"),
        ("a", "736190f2-3819-5580-8b95-5332a310347e"),
        ("nas-01.lab_x", "87d2d3f8-fc2e-5c78-8532-429867601987"),
    ])
    func identitiesNeverChange(name: String, uuid: String) {
        #expect(ExportIdentity.namespace == "6824f713-331e-426d-b99c-a266ae86c69b")
        #expect(ExportIdentity.uuid(name: name) == uuid)
    }

    @Test func exportsAreRead() {
        let text = """
            # a comment
            /srv/my\\040vms 10.0.0.0/24(rw,sync,fsid=7) @lab(ro) # another
            "/srv/quoted path"   *(rw,no_root_squash,mountpoint)
            /srv/long  \\
                a.example.com(rw,crossmnt) \\
                b.example.com
            /srv/common -ro,sync  c(rw) d
            /srv/all
            /srv/anyone (ro)
            relative x(rw)
            """
        let entries = ExportTable.parse(text, file: "/etc/exports")
        #expect(
            entries.map { "\($0.path) \($0.client)" } == [
                "/srv/my vms 10.0.0.0/24", "/srv/my vms @lab", "/srv/quoted path *",
                "/srv/long a.example.com", "/srv/long b.example.com", "/srv/common c",
                "/srv/common d", "/srv/all *", "/srv/anyone *",
            ])
        #expect(entries[0].options == ["rw", "sync", "fsid=7"])
        #expect(entries[0].identity == "7")
        #expect(entries[0].place == "/etc/exports line 2")
        #expect(entries[2].needsMount && entries[2].isWritable && !entries[0].needsMount)
        #expect(entries[3].crossesMounts && entries[3].place == "/etc/exports line 4")
        #expect(entries[5].isWritable && !entries[6].isWritable && entries[6].has("sync"))
        #expect(entries[7].options.isEmpty && !entries[7].isWritable)
    }

    @Test func damagedTextNeverTraps() {
        let text = "\"/a b\\\n\\04\" -x,y (,) h(rw)\\\n \"@g(ro #\n\t/x\\"
        for end in 0...text.utf8.count {
            _ = ExportTable.parse(String(decoding: text.utf8.prefix(end), as: UTF8.self), file: "")
        }
    }

    @Test(arguments: ["/srv/vms", "/a b", "/tab\there", "/quote\"#", "/back\\slash", "/ü/040"])
    func pathsSurviveTheirQuotation(path: String) {
        let entries = ExportTable.parse("\(ExportTable.escape(path)) h(rw)", file: "x")
        #expect(entries.map(\.path) == [path])
        #expect(!ExportTable.escape(path).contains { " \t\"#".contains($0) })
    }

    @Test(arguments: [
        ("10.0.0.5", "10.0.0.5"), ("10.0.0.0/24", "10.0.0.0/24"),
        ("10.0.0.0/255.255.0.0", "10.0.0.0/255.255.0.0"), ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"), ("[2001:db8::]/64", "2001:db8::/64"),
        ("2001:db8::/64", "2001:db8::/64"), ("esx1", "esx1"), ("esx-1.lab.example", nil),
        ("@hypervisors", nil), ("*.lab.example", nil), ("esx?.lab", nil), ("esx[1-4].lab", nil),
        ("*", nil),
    ])
    func clients(text: String, written: String?) throws {
        #expect(try ExportClient(text).text == written ?? text)
    }

    @Test(arguments: [
        "", " ", "a b", "a(rw)", "-x", "@", "@a b", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8",
        "10.0.0.0/255.0.255.0", "::1/129", "fe80::1%eth0", "host:/path", "a/b", "x\ny", "gss/krb5",
        "a\"b", "a#b", "a\\040b", "[::1", "10.0.0.0/24/8", "a=b",
    ])
    func noClients(text: String) {
        let refusal = #expect(throws: Refusal.self) { _ = try ExportClient(text) }
        #expect(refusal?.status == 2)
    }

    @Test func listsOfClients() throws {
        let clients = try ExportClient.list(["a,10.0.0.1", "@b,a"])
        #expect(clients.map(\.text) == ["a", "10.0.0.1", "@b"])
        #expect(throws: Refusal.self) { _ = try ExportClient.list(["a,,b"]) }
        #expect(throws: Refusal.self) { _ = try ExportClient.list([]) }
        for text in ["*", "0.0.0.0/0", "::/0", "10.0.0.0/0.0.0.0"] {
            #expect(try ExportClient(text).isEveryone, "\(text)")
        }
        for text in ["*.lab", "10.0.0.0/8", "10.0.0.0", "a"] {
            #expect(try !ExportClient(text).isEveryone, "\(text)")
        }
    }
}
