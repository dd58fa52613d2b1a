import CLinux
import Glibc
import Passthrough
import Policy
import Syscalls
import Testing

@Suite struct DescriptorCacheTests {
    @Test func aFileIsFoundForWhateverItCanDo() throws {
        let cache = DescriptorCache(limit: 64)
        let node = NodeID(9)
        #expect(cache.find(node, .path) == nil)
        let file = try open(.read)
        cache.insert(node, file)
        #expect(cache.find(node, .path) === file)
        #expect(cache.find(node, .read) === file)
        #expect(cache.find(node, .write) == nil)
        let better = try open(.write)
        cache.insert(node, better)
        #expect(cache.find(node, .write) === better)
        #expect(cache.find(node, .read) === file)
        #expect(cache.find(NodeID(10), .path) == nil)
    }

    @Test func thereAreNeverMoreThanTheLimit() throws {
        let cache = DescriptorCache(limit: 32)
        for number in 0..<200 as Range<UInt64> {
            cache.insert(NodeID(number), try open(.read))
            #expect(cache.count <= 32)
        }
        #expect(cache.count > 16)
    }

    @Test func theLeastRecentlyUsedGo() throws {
        let cache = DescriptorCache(limit: 16)
        for number in 0..<16 as Range<UInt64> { cache.insert(NodeID(number), try open(.read)) }
        for number in 0..<8 as Range<UInt64> { _ = cache.find(NodeID(number), .read) }
        for number in 16..<20 as Range<UInt64> { cache.insert(NodeID(number), try open(.read)) }
        for number in 0..<8 as Range<UInt64> {
            #expect(cache.find(NodeID(number), .read) != nil)
        }
        #expect(cache.find(NodeID(8), .read) == nil)
    }

    /// A file that is dropped while a thread reads from it must not be closed under its hands.
    @Test func aFileInUseStaysOpen() throws {
        let cache = DescriptorCache(limit: 16)
        var file: BackingFile? = try open(.read)
        let raw = try #require(file?.descriptor)
        cache.insert(NodeID(1), try #require(file))
        cache.remove(NodeID(1))
        #expect(cache.find(NodeID(1), .path) == nil)
        #expect(fcntl(raw, F_GETFD) >= 0)
        file = nil
        #expect(cache.count == 0)
    }

    @Test func removingTakesEveryAccess() throws {
        let cache = DescriptorCache(limit: 16)
        for access in [Access.path, .read, .write] {
            cache.insert(NodeID(1), try open(access))
            cache.insert(NodeID(2), try open(access))
        }
        cache.remove(NodeID(1))
        #expect(cache.count == 3)
        #expect(cache.find(NodeID(1), .path) == nil)
        #expect(cache.find(NodeID(2), .write) != nil)
        cache.removeAll()
        #expect(cache.count == 0)
    }

    @Test func theDefaultLeavesHalfOfTheDescriptors() {
        let limit = DescriptorCache.defaultLimit()
        var allowed = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &allowed)
        #expect(limit <= Limits.openDescriptors)
        #expect(UInt64(limit) <= UInt64(allowed.rlim_cur) / 2)
        #expect(limit > 0)
    }

    private func open(_ access: Access) throws -> BackingFile {
        let raw = try Descriptor(path: "/dev/null", flags: O_RDWR).release()
        return BackingFile(owning: raw, access: access)
    }
}
