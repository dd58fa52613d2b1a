package struct ReadLease: ~Copyable {
    package init() {}
    package mutating func release() {}
}
