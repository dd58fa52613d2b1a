#pragma once
#include <stddef.h>
#include <stdint.h>

/// The state of a keyed hash after its 64-byte key block; made once, copied for each block.
struct CHash_key { uint8_t state[128]; };

/// Absorbs a 64-byte key block into SHA-256 (libcrypto, with SHA-NI where the processor has it).
void CHash_prepare(struct CHash_key *key, const uint8_t *key_block);
/// The first 16 bytes of SHA-256(key block ‖ 4,096 bytes). Cutting the digest in half makes
/// extension of the message useless, so the plain prefix key is safe. Allocates nothing.
void CHash_fingerprint(const struct CHash_key *key, const void *block, uint8_t *fingerprint);
/// The 20 bytes of SHA-1, for names (UUID version 5) and nothing that an attacker may choose.
void CHash_sha1(const uint8_t *bytes, size_t count, uint8_t *digest);
/// XXH3 in 64 bits: fast, and no secret against those who know the seed.
uint64_t CHash_checksum(const void *bytes, size_t count, uint64_t seed);
