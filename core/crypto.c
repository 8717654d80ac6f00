#include "core/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdatomic.h>

#define NONCE_LEN 12
#define TAG_LEN 16
#define SEAL_VERSION 1

static void must(int ok, const char *what)
{
    if (ok != 1) {
        fprintf(stderr, "OpenSSL failed: %s\n", what);
        abort();
    }
}

static atomic_uint forks;

static void count_fork(void)
{
    atomic_fetch_add(&forks, 1);
}

static void watch_forks(void)
{
    must(pthread_atfork(NULL, NULL, count_fork) == 0, "pthread_atfork");
}

/* A block of random bytes per thread saves a system call an id. Used bytes are wiped, and a forked child never shares its parent's. */
void crypto_random(void *out, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static _Thread_local uint8_t block[4096];
    static _Thread_local size_t left;
    static _Thread_local unsigned owner;
    pthread_once(&once, watch_forks);
    unsigned now = atomic_load_explicit(&forks, memory_order_relaxed);
    if (len > sizeof(block)) {
        must(RAND_bytes(out, (int)len), "RAND_bytes");
        return;
    }
    if (left < len || owner != now) {
        must(RAND_bytes(block, sizeof(block)), "RAND_bytes");
        left = sizeof(block);
        owner = now;
    }
    uint8_t *from = block + sizeof(block) - left;
    memcpy(out, from, len);
    explicit_bzero(from, len);
    left -= len;
}

void crypto_sha256(const void *p, size_t len, uint8_t out[SHA256_LEN])
{
    SHA256(p, len, out);
}

void crypto_hmac_sha256(const void *key, size_t key_len, const void *p, size_t len, uint8_t out[SHA256_LEN])
{
    unsigned n = SHA256_LEN;
    must(HMAC(EVP_sha256(), key, (int)key_len, p, len, out, &n) != NULL, "HMAC");
}

void crypto_hkdf_sha256(const void *key, size_t key_len, const char *info, uint8_t *out, size_t out_len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, key_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info, strlen(info)),
        OSSL_PARAM_construct_end(),
    };
    must(ctx != NULL && EVP_KDF_derive(ctx, out, out_len, params) == 1, "HKDF");
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void crypto_wipe(void *p, size_t len)
{
    OPENSSL_cleanse(p, len);
}

uint32_t crypto_crc32(const void *p, size_t len)
{
    const uint8_t *s = p;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < len; i++) {
        crc ^= s[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
        }
    }
    return ~crc;
}

uint8_t *crypto_seal(struct arena *a, const uint8_t key[SEAL_KEY_LEN], const void *aad, size_t aad_len, const void *p, size_t len,
                     size_t *len_r)
{
    uint8_t *out = arena_alloc(a, SEAL_OVERHEAD + len);
    uint8_t *nonce = out + 1, *text = nonce + NONCE_LEN, *tag = text + len;
    int n;
    out[0] = SEAL_VERSION;
    crypto_random(nonce, NONCE_LEN);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    must(c != NULL && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1, "GCM");
    must(EVP_EncryptUpdate(c, NULL, &n, aad, (int)aad_len), "GCM");
    must(EVP_EncryptUpdate(c, text, &n, p, (int)len), "GCM");
    must(EVP_EncryptFinal_ex(c, text + n, &n), "GCM");
    must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_LEN, tag), "GCM");
    EVP_CIPHER_CTX_free(c);
    *len_r = SEAL_OVERHEAD + len;
    return out;
}

int crypto_open(struct arena *a, const uint8_t key[SEAL_KEY_LEN], const void *aad, size_t aad_len, const void *p, size_t len,
                uint8_t **out_r, size_t *len_r, struct err *e)
{
    const uint8_t *in = p;
    if (len < SEAL_OVERHEAD || in[0] != SEAL_VERSION) {
        return err_set(e, ERR_INTERNAL, "a sealed value is damaged");
    }
    size_t text_len = len - SEAL_OVERHEAD;
    const uint8_t *nonce = in + 1, *text = nonce + NONCE_LEN, *tag = text + text_len;
    uint8_t *out = arena_alloc(a, text_len + 1);
    int n = 0;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    must(c != NULL && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1, "GCM");
    must(EVP_DecryptUpdate(c, NULL, &n, aad, (int)aad_len), "GCM");
    must(EVP_DecryptUpdate(c, out, &n, text, (int)text_len), "GCM");
    must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_LEN, (void *)tag), "GCM");
    int ok = EVP_DecryptFinal_ex(c, out + n, &n);
    EVP_CIPHER_CTX_free(c);
    if (ok != 1) {
        crypto_wipe(out, text_len);
        return err_set(e, ERR_INTERNAL, "a sealed value does not open with this master key");
    }
    *out_r = out;
    *len_r = text_len;
    return 0;
}

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *crypto_base64url(struct arena *a, const void *p, size_t len)
{
    const uint8_t *in = p;
    char *out = arena_alloc(a, len / 3 * 4 + 5), *o = out;
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | in[i];
        for (count += 8; count >= 6; count -= 6) {
            *o++ = base64url[bits >> (count - 6) & 63];
        }
    }
    if (count > 0) {
        *o++ = base64url[bits << (6 - count) & 63];
    }
    return out;
}

int crypto_base64url_read(struct arena *a, const char *s, size_t len, uint8_t **out_r, size_t *len_r)
{
    if (len % 4 == 1) {
        return -1;
    }
    uint8_t *out = arena_alloc(a, len / 4 * 3 + 4), *o = out;
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < len; i++) {
        const char *digit = s[i] != '\0' ? strchr(base64url, s[i]) : NULL;
        if (digit == NULL) {
            return -1;
        }
        bits = bits << 6 | (uint32_t)(digit - base64url);
        count += 6;
        if (count >= 8) {
            count -= 8;
            *o++ = (uint8_t)(bits >> count);
        }
    }
    if ((bits & ((1u << count) - 1)) != 0) { /* another text would decode to the same bytes */
        return -1;
    }
    *out_r = out;
    *len_r = (size_t)(o - out);
    return 0;
}

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

void crypto_random_base62(char *out, size_t count)
{
    for (size_t i = 0; i < count;) {
        uint8_t byte;
        crypto_random(&byte, 1);
        if (byte < 248) { /* 4 × 62: no digit is more likely than another */
            out[i++] = base62[byte % 62];
        }
    }
    out[count] = '\0';
}

void crypto_base62_u32(uint32_t n, char out[7])
{
    for (int i = 5; i >= 0; i--) {
        out[i] = base62[n % 62];
        n /= 62;
    }
    out[6] = '\0';
}
