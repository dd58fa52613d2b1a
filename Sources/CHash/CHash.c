// The one-context interface allocates nothing per block; its successor (EVP) does.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "CHash.h"
#include <openssl/sha.h>
#include <string.h>
// Compiled in: a checksum takes less time than a call into a library.
#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(SHA256_CTX) <= sizeof(struct CHash_key), "the key state must fit");

void CHash_prepare(struct CHash_key *key, const uint8_t *key_block) {
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, key_block, 64);
    memcpy(key->state, &context, sizeof context);
}

void CHash_fingerprint(const struct CHash_key *key, const void *block, uint8_t *fingerprint) {
    SHA256_CTX context;
    uint8_t digest[32];
    memcpy(&context, key->state, sizeof context);
    SHA256_Update(&context, block, 4096);
    SHA256_Final(digest, &context);
    memcpy(fingerprint, digest, 16);
}

void CHash_sha1(const uint8_t *bytes, size_t count, uint8_t *digest) {
    SHA1(bytes, count, digest);
}

uint64_t CHash_checksum(const void *bytes, size_t count, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, count, seed);
}
