/* jws_verify.c: signatures and what follows from them. The only user of libjwt. */
#include "tenants/jws.h"

#include "core/crypto.h"
#include "tenants/tokens.h"

#include <jwt.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#define HS256_SECRET_MIN 32
#define ES256_PART 32
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192

/* ---- keys ---- */

/* The length of a signature by this public key, or 0: it is none for alg. */
static size_t public_signature_len(const char *alg, const void *pem, size_t len)
{
    size_t result = 0;
    char group[32] = "";
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    if (key != NULL && strcmp(alg, "ES256") == 0 && EVP_PKEY_is_a(key, "EC")) {
        bool p256 = EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 && strcmp(group, "prime256v1") == 0;
        result = p256 ? 2 * ES256_PART : 0;
    } else if (key != NULL && strcmp(alg, "RS256") == 0 && EVP_PKEY_is_a(key, "RSA")) {
        int bits = EVP_PKEY_get_bits(key);
        result = bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX ? (size_t)EVP_PKEY_get_size(key) : 0;
    }
    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    return result;
}

static void *copy_of(const void *p, size_t len)
{
    char *copy = calloc(1, len + 1);
    if (copy == NULL) {
        fputs("out of memory: signing key\n", stderr);
        abort();
    }
    memcpy(copy, p, len);
    return copy;
}

int jws_key_init(struct jws_key *k_r, const char *alg, const char *issuer, const void *bytes, size_t len, struct err *e)
{
    struct jws_key k = {.len = len};
    bool secret = strcmp(alg, "HS256") == 0;
    if (bytes == NULL || len > INT32_MAX) {
        return err_set(e, ERR_INTERNAL, "a signing key is empty");
    }
    k.signature_len = !secret ? public_signature_len(alg, bytes, len) : len >= HS256_SECRET_MIN ? SHA256_LEN : 0;
    if (k.signature_len == 0) {
        return err_set(e, ERR_INTERNAL, "a signing key does not fit its algorithm");
    }
    snprintf(k.alg, sizeof(k.alg), "%s", alg);
    k.issuer = copy_of(issuer, strlen(issuer));
    k.bytes = copy_of(bytes, len);
    crypto_hmac_sha256(k.alg, sizeof(k.alg), bytes, len, k.digest);
    *k_r = k;
    return 0;
}

void jws_key_clear(struct jws_key *k)
{
    if (k->bytes != NULL) {
        crypto_wipe(k->bytes, k->len);
    }
    free(k->bytes);
    free(k->issuer);
    *k = (struct jws_key){.len = 0};
}

/* ---- verifying ---- */

/* 0 < n < order of P-256, both big-endian. */
static bool in_range(const uint8_t n[ES256_PART])
{
    static const uint8_t zero[ES256_PART];
    static const uint8_t order[ES256_PART] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
                                              0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                              0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    return memcmp(n, zero, ES256_PART) != 0 && memcmp(n, order, ES256_PART) < 0;
}

static bool signature_holds(const struct jws *j, const struct jws_key *k)
{
    if (j->signature_len != k->signature_len) {
        return false;
    }
    if (strcmp(k->alg, "ES256") == 0 && (!in_range(j->signature) || !in_range(j->signature + ES256_PART))) {
        return false;
    }
    jwt_t *t = NULL;
    bool holds = jwt_decode(&t, j->text, k->bytes, (int)k->len) == 0;
    holds = holds && strcmp(jwt_alg_str(jwt_get_alg(t)), k->alg) == 0;
    jwt_free(t);
    ERR_clear_error();
    return holds;
}

static int check_times(const struct jws *j, int64_t now_ms, struct err *e)
{
    if (now_ms >= (j->exp + TOKEN_LEEWAY_SECONDS) * 1000) {
        return err_set(e, ERR_TOKEN_EXPIRED, "The token has expired; get a new one from your server.");
    }
    if (j->iat * 1000 > now_ms + TOKEN_LEEWAY_SECONDS * 1000) {
        return err_set(e, ERR_INVALID_TOKEN, "The token was issued in the future; check the clock of its issuer.");
    }
    if (j->nbf * 1000 > now_ms + TOKEN_LEEWAY_SECONDS * 1000) {
        return err_set(e, ERR_INVALID_TOKEN, "The token is not valid yet.");
    }
    return 0;
}

int jws_check(struct arena *a, const char *text, int64_t now_ms, jws_find_key *find_key, void *ctx, struct jws *j_r, struct err *e)
{
    struct jws j;
    const struct jws_key *k = NULL;
    bool verified = false;
    if (jws_parse(a, text, &j, e) < 0) {
        return -1;
    }
    int found = find_key(ctx, &j, &k, &verified, e);
    if (found != 1) {
        return found == 0 ? err_set(e, ERR_UNKNOWN_KID, "The app has no active signing key with this kid.") : -1;
    }
    if (strcmp(j.alg, k->alg) != 0) {
        return err_set(e, ERR_INVALID_TOKEN, "The token's alg is not that of its signing key.");
    }
    if (!verified && !signature_holds(&j, k)) {
        return err_set(e, ERR_INVALID_TOKEN, JWS_REFUSED);
    }
    if (check_times(&j, now_ms, e) < 0) {
        return -1;
    }
    if (strcmp(j.issuer, k->issuer) != 0) {
        return err_set(e, ERR_INVALID_TOKEN, "The token's iss is not that of its signing key.");
    }
    *j_r = j;
    return 0;
}

/* ---- signing ---- */

char *jws_sign(struct arena *a, const char *kid, const uint8_t *secret, size_t len, const json_t *claims, struct err *e)
{
    jwt_t *t = NULL;
    char *text = NULL, *kept = NULL;
    if (jwt_new(&t) == 0 && jwt_add_header(t, "kid", kid) == 0 && jwt_add_grants_json(t, json_write(a, claims, NULL)) == 0 &&
        jwt_set_alg(t, JWT_ALG_HS256, secret, (int)len) == 0) {
        text = jwt_encode_str(t);
    }
    if (text == NULL) {
        err_set(e, ERR_INTERNAL, "a token cannot be signed");
    } else {
        kept = arena_strdup(a, text);
        free(text);
    }
    jwt_free(t);
    return kept;
}
