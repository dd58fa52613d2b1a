// The one-context interface allocates nothing per block; its successor (EVP) does.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "CHash.h"
#include <openssl/sha.h>
#include <string.h>

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
