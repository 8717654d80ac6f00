/* crypto.h: the few primitives Parley needs, over OpenSSL. All functions that cannot fail end the process if OpenSSL does. */
#ifndef CORE_CRYPTO_H
#define CORE_CRYPTO_H

#include "core/arena.h"
#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_LEN 32
#define SEAL_KEY_LEN 32
#define SEAL_OVERHEAD (1 + 12 + 16) /* version, nonce, tag */

void crypto_random(void *out, size_t len); /* CSPRNG, buffered per thread */
void crypto_sha256(const void *p, size_t len, uint8_t out[SHA256_LEN]);
void crypto_hmac_sha256(const void *key, size_t key_len, const void *p, size_t len, uint8_t out[SHA256_LEN]);
void crypto_hkdf_sha256(const void *key, size_t key_len, const char *info, uint8_t *out, size_t out_len); /* RFC 5869, no salt */
bool crypto_equal(const void *a, const void *b, size_t len);                                              /* constant time */
void crypto_wipe(void *p, size_t len);
uint32_t crypto_crc32(const void *p, size_t len); /* IEEE 802.3 */

/* AES-256-GCM with a random nonce: version byte 1, nonce, ciphertext, tag. `aad` binds the place where the secret is stored.
 * crypto_open: 0, or -1 and ERR_INTERNAL when the tag does not match. Results belong to the arena. */
uint8_t *crypto_seal(struct arena *a, const uint8_t key[SEAL_KEY_LEN], const void *aad, size_t aad_len, const void *p, size_t len,
                     size_t *len_r);
int crypto_open(struct arena *a, const uint8_t key[SEAL_KEY_LEN], const void *aad, size_t aad_len, const void *p, size_t len,
                uint8_t **out_r, size_t *len_r, struct err *e) __attribute__((warn_unused_result));

/* base64url without padding (RFC 4648 5), strict: canonical trailing bits only. Results belong to the arena. */
char *crypto_base64url(struct arena *a, const void *p, size_t len);
int crypto_base64url_read(struct arena *a, const char *s, size_t len, uint8_t **out_r, size_t *len_r) __attribute__((warn_unused_result));

/* base62 (0-9A-Za-z): `digits` random characters (uniform, rejection sampling); fixed-width big-endian number. Both write a NUL. */
void crypto_random_base62(char *out, size_t digits);
void crypto_base62_u32(uint32_t n, char out[7]); /* six digits */

#endif
