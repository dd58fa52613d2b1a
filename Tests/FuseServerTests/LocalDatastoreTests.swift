import CFuse
import DataPath
import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

@testable import FuseServer

/// Readers that wait for a datastore on a device of this machine.
@Suite struct LocalDatastoreTests {
    private func table() -> fuse_lowlevel_ops {
        var table = fuse_lowlevel_ops()
        table.fsync = { request, node, _, _ in
            guard WaitMode.mayWait else { return fuse_reply_none(request) }
            Gates.pass(node)
            fuse_reply_err(request, ENODATA)
        }
        table.getattr = { request, _, _ in fuse_reply_err(request, EPERM) }
        return table
    }

    private func sync(_ mount: FakeMount, unique: UInt64, node: UInt64) {
        mount.kernel.send(20, unique: unique, node: node, Array(repeating: 0, count: 16))
    }

    /// Half of the readers may be stuck on the device, and all workers: the others read on.
    @Test func aDeviceThatHangsDoesNotHoldAllReaders() throws {
        let mount = try FakeMount()
        try mount.serve(table(), isLocal: true, workers: 2) { _ in
            let stuck = Limits.busyReaders + 2
            let requests = (0..<UInt64(stuck + 2)).map { 10 + 2 * $0 }
            for unique in requests { sync(mount, unique: unique, node: 501) }
            Gates.awaitEntry(501, count: stuck)
            for unique in 50..<70 as Range<UInt64> {
                mount.kernel.send(
                    3, unique: unique * 2, node: 1, TransportTests.bytes(of: fuse_getattr_in()))
                let reply = mount.kernel.receive()
                #expect(reply == FakeKernel.Reply(unique: unique * 2, error: EPERM, body: []))
            }
            #expect(Gates.entries(501) == stuck)
            Gates.open(501)
            let replies = requests.compactMap { _ in mount.kernel.receive() }
            #expect(Set(replies.map(\.unique)) == Set(requests))
            #expect(replies.allSatisfy { $0.error == ENODATA })
        }
    }

    /// The kernel is not told to ask again at once, all the time that the device takes.
    @Test func aSignalMeanwhileIsNotAnswered() throws {
        let mount = try FakeMount()
        try mount.serve(table(), isLocal: true) { _ in
            sync(mount, unique: 10, node: 502)
            Gates.awaitEntry(502)
            mount.kernel.send(36, unique: 11, TransportTests.bytes(of: 10 as UInt64))
            #expect(mount.kernel.receive(within: 300) == nil)
            Gates.open(502)
            let reply = mount.kernel.receive()
            #expect(reply == FakeKernel.Reply(unique: 10, error: ENODATA, body: []))
        }
    }
}
