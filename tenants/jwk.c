/* jwk.c: public keys from JWK (RFC 7517, RFC 7518 6) to PEM. */
#include "tenants/signing_keys.h"

#include "core/crypto.h"
#include "tenants/jws.h"
#include "tenants/tokens.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#define P256_COORDINATE 32
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define RSA_EXPONENT_MIN 65537
#define RSA_EXPONENT_LEN_MAX 8 /* OpenSSL takes no longer one with a large modulus */
#define ISSUER_MAX 255

static int refuse(struct err *e, const char *member, const char *why)
{
    char pointer[32];
    snprintf(pointer, sizeof(pointer), "/jwk%s%s", member[0] != '\0' ? "/" : "", member);
    return err_at(e, ERR_VALIDATION_FAILED, pointer, "%s", why);
}

/* ---- members ---- */

struct number {
    uint8_t *p;
    size_t len;
};

static int read_number(struct arena *a, const json_t *jwk, const char *name, struct number *n_r, struct err *e)
{
    const char *text = json_str(jwk, name, "");
    struct number n;
    if (text[0] == '\0' || strlen(text) > 2048 || crypto_base64url_read(a, text, strlen(text), &n.p, &n.len) < 0) {
        return refuse(e, name, "It must be base64url without padding.");
    }
    *n_r = n;
    return 0;
}

static int check_members(const char *alg, const json_t *jwk, struct err *e)
{
    static const char *const private[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    const char *kty = strcmp(alg, "ES256") == 0 ? "EC" : "RSA";
    const json_t *ops = json_object_get(jwk, "key_ops");
    if (!json_is_object(jwk)) {
        return refuse(e, "", "It must be a JWK object.");
    }
    for (size_t i = 0; i < sizeof(private) / sizeof(*private); i++) {
        if (json_object_get(jwk, private[i]) != NULL) {
            return refuse(e, private[i],
                          "This is part of a private key; send the public key only, and replace this one: it is known to others now.");
        }
    }
    if (strcmp(json_str(jwk, "kty", ""), kty) != 0) {
        return refuse(e, "kty", strcmp(kty, "EC") == 0 ? "It must be EC for ES256." : "It must be RSA for RS256.");
    }
    if (json_object_get(jwk, "alg") != NULL && strcmp(json_str(jwk, "alg", ""), alg) != 0) {
        return refuse(e, "alg", "It must be the alg of the signing key, or absent.");
    }
    if (json_object_get(jwk, "use") != NULL && strcmp(json_str(jwk, "use", ""), "sig") != 0) {
        return refuse(e, "use", "It must be sig, or absent.");
    }
    if (ops != NULL && (json_array_size(ops) != 1 ||
                        strcmp(json_is_string(json_array_get(ops, 0)) ? json_string_value(json_array_get(ops, 0)) : "", "verify") != 0)) {
        return refuse(e, "key_ops", "It must be [\"verify\"], or absent.");
    }
    return 0;
}

/* ---- OpenSSL ---- */

static EVP_PKEY *key_of(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        key = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *ec_key(const struct number *x, const struct number *y)
{
    uint8_t point[1 + 2 * P256_COORDINATE] = {POINT_CONVERSION_UNCOMPRESSED};
    memcpy(point + 1, x->p, P256_COORDINATE);
    memcpy(point + 1 + P256_COORDINATE, y->p, P256_COORDINATE);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (bld != NULL && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) == 1) {
        key = key_of("EC", bld);
    }
    OSSL_PARAM_BLD_free(bld);
    EVP_PKEY_CTX *ctx = key != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
    if (ctx == NULL || EVP_PKEY_public_check(ctx) != 1) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* Not EVP_PKEY_public_check: it tries the modulus for primality, which takes seconds when somebody sends a large prime. */
static EVP_PKEY *rsa_key(const struct number *modulus, const struct number *exponent)
{
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn(modulus->p, (int)modulus->len, NULL), *x = BN_bin2bn(exponent->p, (int)exponent->len, NULL);
    EVP_PKEY *key = NULL;
    if (bld != NULL && n != NULL && x != NULL && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, x) == 1) {
        key = key_of("RSA", bld);
    }
    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(x);
    return key;
}

static const char *pem_of(struct arena *a, EVP_PKEY *key)
{
    const char *pem = NULL;
    char *text;
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio != NULL && PEM_write_bio_PUBKEY(bio, key) == 1) {
        long len = BIO_get_mem_data(bio, &text);
        pem = arena_dup(a, text, (size_t)len);
    }
    BIO_free(bio);
    EVP_PKEY_free(key);
    return pem;
}

/* ---- the two kinds ---- */

static int read_ec(struct arena *a, const json_t *jwk, struct signing_key *k, struct err *e)
{
    struct number x, y;
    if (strcmp(json_str(jwk, "crv", ""), "P-256") != 0) {
        return refuse(e, "crv", "It must be P-256.");
    }
    if (read_number(a, jwk, "x", &x, e) < 0 || read_number(a, jwk, "y", &y, e) < 0) {
        return -1;
    }
    if (x.len != P256_COORDINATE || y.len != P256_COORDINATE) {
        return refuse(e, x.len != P256_COORDINATE ? "x" : "y", "It must be 32 bytes.");
    }
    EVP_PKEY *key = ec_key(&x, &y);
    k->public_pem = key != NULL ? pem_of(a, key) : NULL;
    ERR_clear_error();
    if (k->public_pem == NULL) {
        return refuse(e, "x", "The point (x, y) is not on the curve.");
    }
    k->public_jwk = json_own(
        a, json_pack("{s:s, s:s, s:s, s:s}", "kty", "EC", "crv", "P-256", "x", json_str(jwk, "x", ""), "y", json_str(jwk, "y", "")));
    return 0;
}

static int check_rsa(const struct number *n, const struct number *x, struct err *e)
{
    if (n->p[0] == 0 || (n->p[n->len - 1] & 1) == 0) {
        return refuse(e, "n", "It must be an odd number without leading zero bytes.");
    }
    size_t bits = n->len * 8 - (size_t)(__builtin_clz(n->p[0]) - 24);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
        return refuse(e, "n", "It must have 2048 to 8192 bits.");
    }
    uint64_t exponent = 0;
    for (size_t i = 0; i < x->len && x->len <= RSA_EXPONENT_LEN_MAX; i++) {
        exponent = exponent << 8 | x->p[i];
    }
    if (x->p[0] == 0 || exponent < RSA_EXPONENT_MIN || (exponent & 1) == 0) {
        return refuse(e, "e", "It must be an odd number from 65537 (AQAB) to 2^64, without leading zero bytes.");
    }
    return 0;
}

static int read_rsa(struct arena *a, const json_t *jwk, struct signing_key *k, struct err *e)
{
    struct number n, x;
    if (read_number(a, jwk, "n", &n, e) < 0 || read_number(a, jwk, "e", &x, e) < 0 || check_rsa(&n, &x, e) < 0) {
        return -1;
    }
    EVP_PKEY *key = rsa_key(&n, &x);
    k->public_pem = key != NULL ? pem_of(a, key) : NULL;
    ERR_clear_error();
    if (k->public_pem == NULL) {
        return refuse(e, "n", "It is no RSA key.");
    }
    k->public_jwk = json_own(a, json_pack("{s:s, s:s, s:s}", "kty", "RSA", "n", json_str(jwk, "n", ""), "e", json_str(jwk, "e", "")));
    return 0;
}

int signing_keys_from_jwk(struct arena *a, const char *alg, const json_t *jwk, const char *issuer, struct signing_key *k_r, struct err *e)
{
    bool ec = strcmp(alg, "ES256") == 0;
    const char *kid = json_str(jwk, "kid", "");
    if (!ec && strcmp(alg, "RS256") != 0) {
        return err_at(e, ERR_VALIDATION_FAILED, "/alg", "A public key is for ES256 or RS256.");
    }
    if (issuer != NULL && (issuer[0] == '\0' || strlen(issuer) > ISSUER_MAX)) {
        return err_at(e, ERR_VALIDATION_FAILED, "/issuer", "It must be 1 to %d bytes long.", ISSUER_MAX);
    }
    struct signing_key k = {.alg = ec ? "ES256" : "RS256", .issuer = issuer != NULL ? arena_strdup(a, issuer) : tokens_issuer()};
    k.kid = jws_is_kid(kid) ? arena_strdup(a, kid) : signing_keys_new_kid(a);
    if (check_members(alg, jwk, e) < 0 || (ec ? read_ec(a, jwk, &k, e) : read_rsa(a, jwk, &k, e)) < 0) {
        return -1;
    }
    *k_r = k;
    return 0;
}
