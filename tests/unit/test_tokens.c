/* Tokens as text: what is taken, and everything that must be refused (RFC 8725 and the attacks known on JWT libraries). */
#include "tests/unit/unit.h"

#include "core/json.h"
#include "tenants/jws.h"
#include "tenants/tokens.h"
#include "tests/unit/token_forge.h"

#define APP "app_01h455vb4pex5vsknk084sn02q"
#define OTHER "app_01h455vb4pex5vsknk084sn02r"
#define NOBODY "app_01h455vb4pex5vsknk084sn02s"
#define NOW 1800000000 /* the default token is issued then and lives for an hour */

static struct arena *a;
static EVP_PKEY *ec, *rsa, *stranger_ec, *stranger_rsa;
static const uint8_t secret[32] = "thirty-two bytes of test secret!", other_secret[32] = "another app's secret, 32 bytes..";

/* ---- the keys of two apps ---- */

static struct {
    const char *app, *kid;
    struct jws_key key;
} known[5];

static void add_key(int i, const char *app, const char *kid, const char *alg, const char *issuer, const void *bytes, size_t len)
{
    struct err e = {0};
    known[i].app = app;
    known[i].kid = kid;
    assert_int_equal(jws_key_init(&known[i].key, alg, issuer, bytes, len, &e), 0);
}

static int setup(void **state)
{
    (void)state;
    a = arena_new("test");
    ec = EVP_EC_gen("P-256");
    rsa = EVP_RSA_gen(2048);
    stranger_ec = EVP_EC_gen("P-256");
    stranger_rsa = EVP_RSA_gen(2048);
    const char *ec_pem = forge_pem(a, ec), *rsa_pem = forge_pem(a, rsa);
    add_key(0, APP, "hs-key-1", "HS256", "parley", secret, sizeof(secret));
    add_key(1, APP, "ec-key-1", "ES256", "https://id.example", ec_pem, strlen(ec_pem));
    add_key(2, APP, "rsa-key-1", "RS256", "https://id.example", rsa_pem, strlen(rsa_pem));
    add_key(3, OTHER, "hs-other", "HS256", "parley", other_secret, sizeof(other_secret));
    add_key(4, OTHER, "hs-key-1-of-other", "HS256", "parley", other_secret, sizeof(other_secret));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(known); i++) {
        jws_key_clear(&known[i].key);
    }
    EVP_PKEY_free(ec);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(stranger_ec);
    EVP_PKEY_free(stranger_rsa);
    arena_free(&a);
    return 0;
}

static int looked_up;
static bool say_verified;

static int find_key(void *ctx, const struct jws *j, const struct jws_key **k_r, bool *verified_r, struct err *e)
{
    char app[ID_TEXT_MAX];
    (void)ctx;
    looked_up++;
    app_id_print(&j->app, app);
    if (strcmp(app, APP) != 0 && strcmp(app, OTHER) != 0) {
        return err_set(e, ERR_INVALID_TOKEN, JWS_REFUSED);
    }
    for (size_t i = 0; i < COUNT(known); i++) {
        if (strcmp(known[i].app, app) == 0 && strcmp(known[i].kid, j->kid) == 0) {
            *k_r = &known[i].key;
            *verified_r = say_verified;
            return 1;
        }
    }
    return 0;
}

/* ---- forging ---- */

enum signer {
    HS,
    HS_OTHER,
    HS_EMPTY_KEY,
    HS_EC_PEM,
    HS_EC_PEM_TRIMMED,
    HS_EC_DER,
    HS_RSA_PEM,
    HS_RSA_PEM_TRIMMED,
    HS_RSA_DER,
    HS_BIT,
    HS_SHORT,
    HS_LONG,
    HS_ZERO,
    ES,
    ES_STRANGER,
    ES_DER,
    ES_ZERO_R,
    ES_ZERO_S,
    ES_R_ORDER,
    ES_S_ORDER,
    ES_ALL_ONES,
    ES_SHORT,
    ES_LONG,
    ES_BIT,
    ES_ZEROS,
    RS,
    RS_STRANGER,
    RS_BIT,
    RS_SHORT,
    RS_LONG,
    RS_ZEROS,
    RS_ONE,
    RS_RANDOM,
    EMPTY,
    ONE_BYTE
};

static uint8_t *hmac_with(const char *body, const void *key, size_t key_len, size_t *len_r)
{
    uint8_t *mac = arena_alloc(a, 80);
    crypto_hmac_sha256(key, key_len, body, strlen(body), mac);
    *len_r = SHA256_LEN;
    return mac;
}

static uint8_t *sign_hs(enum signer s, const char *body, size_t *len_r)
{
    size_t der_len;
    const char *pem = forge_pem(a, s == HS_EC_PEM || s == HS_EC_PEM_TRIMMED ? ec : rsa);
    const uint8_t *der = forge_der(a, s == HS_EC_DER ? ec : rsa, &der_len);
    uint8_t *mac;
    switch (s) {
    case HS_OTHER:
        return hmac_with(body, other_secret, sizeof(other_secret), len_r);
    case HS_EMPTY_KEY:
        return hmac_with(body, "", 0, len_r);
    case HS_EC_PEM:
    case HS_RSA_PEM:
        return hmac_with(body, pem, strlen(pem), len_r);
    case HS_EC_PEM_TRIMMED:
    case HS_RSA_PEM_TRIMMED:
        return hmac_with(body, pem, strlen(pem) - 1, len_r);
    case HS_EC_DER:
    case HS_RSA_DER:
        return hmac_with(body, der, der_len, len_r);
    default:
        break;
    }
    mac = hmac_with(body, secret, sizeof(secret), len_r);
    if (s == HS_BIT) {
        mac[31] ^= 1;
    } else if (s == HS_SHORT) {
        *len_r = 16;
    } else if (s == HS_LONG) {
        *len_r = 33;
    } else if (s == HS_ZERO) {
        memset(mac, 0, 32);
    }
    return mac;
}

static uint8_t *sign_es(enum signer s, const char *body, size_t *len_r)
{
    static const char order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    long n_len;
    uint8_t *raw = arena_alloc(a, 80), *n = OPENSSL_hexstr2buf(order, &n_len);
    memcpy(raw, forge_sign_ec(a, s == ES_STRANGER ? stranger_ec : ec, body), 64);
    *len_r = s == ES_SHORT ? 63 : s == ES_LONG ? 65 : 64;
    switch (s) {
    case ES_DER:
        OPENSSL_free(n);
        return forge_sign(a, ec, body, len_r);
    case ES_ZERO_R:
        memset(raw, 0, 32);
        break;
    case ES_ZERO_S:
        memset(raw + 32, 0, 32);
        break;
    case ES_R_ORDER:
        memcpy(raw, n, 32);
        break;
    case ES_S_ORDER:
        memcpy(raw + 32, n, 32);
        break;
    case ES_ALL_ONES:
        memset(raw, 0xff, 64);
        break;
    case ES_ZEROS:
        memset(raw, 0, 64);
        break;
    case ES_BIT:
        raw[40] ^= 0x10;
        break;
    default:
        break;
    }
    OPENSSL_free(n);
    return raw;
}

static uint8_t *sign_rs(enum signer s, const char *body, size_t *len_r)
{
    uint8_t *sig = forge_sign(a, s == RS_STRANGER ? stranger_rsa : rsa, body, len_r);
    if (s == RS_BIT) {
        sig[100] ^= 4;
    } else if (s == RS_SHORT) {
        *len_r = 255;
    } else if (s == RS_LONG) {
        *len_r = 257;
    } else if (s == RS_ZEROS || s == RS_ONE) {
        memset(sig, 0, 256);
        sig[255] = s == RS_ONE; /* 1 to any power is 1 */
    } else if (s == RS_RANDOM) {
        crypto_random(sig, 256);
        sig[0] = 0;
    }
    return sig;
}

static char *forge(const char *header, const char *claims, enum signer s)
{
    char *body = forge_body(a, header, claims);
    size_t len = s == ONE_BYTE;
    const uint8_t *sig = s >= EMPTY ? (const uint8_t *)"\x01"
                         : s >= RS  ? sign_rs(s, body, &len)
                         : s >= ES  ? sign_es(s, body, &len)
                                    : sign_hs(s, body, &len);
    return forge_token(a, body, sig, len);
}

/* An object with the members of `patch` over the defaults; null takes one away. Text that begins otherwise than with a brace is taken as it is. */
static const char *merged(const char *defaults, const char *patch)
{
    struct err e;
    if (patch == NULL || patch[0] != '{') {
        return patch == NULL ? defaults : patch;
    }
    json_t *v = json_read(a, defaults, strlen(defaults), &e), *p = json_read(a, patch, strlen(patch), &e);
    json_merge_patch(v, p);
    return json_write(a, v, NULL);
}

#define HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"hs-key-1\"}"
#define CLAIMS "{\"iss\":\"parley\",\"aud\":\"" APP "\",\"sub\":\"alice\",\"exp\":1800003600,\"iat\":1800000000,\"jti\":\"7xKqZ\"}"
#define ES_HEADER "{\"alg\":\"ES256\",\"kid\":\"ec-key-1\"}"
#define RS_HEADER "{\"alg\":\"RS256\",\"kid\":\"rsa-key-1\"}"
#define FOREIGN "{\"iss\":\"https://id.example\"}"

static int check_at(const char *text, int64_t now_ms, struct jws *j_r, struct err *e)
{
    *e = (struct err){0};
    return jws_check(a, text, now_ms, find_key, NULL, j_r, e);
}

static void expect(const char *name, const char *text, int64_t now_ms, enum err_code code)
{
    struct jws j = {.kid = "untouched"};
    struct err e;
    int result = check_at(text, now_ms, &j, &e);
    if ((result == 0) != (code == ERR_OK) || e.code != code) {
        fail_msg("%s: %s (%s)", name, err_name(e.code), e.msg);
    }
    if (result < 0) {
        assert_string_equal(j.kid, "untouched");
        assert_true(e.msg[0] != '\0');
    }
}

/* ---- what a header, claims and a signature may be ---- */

/* clang-format off */
static const struct {
    const char *name, *header, *claims; /* patches over HEADER and CLAIMS, or whole texts without a leading brace */
    enum signer signer;
    enum err_code code;
} cases[] = {
    /* good ones */
    {"HS256", NULL, NULL, HS, ERR_OK},
    {"ES256", ES_HEADER, FOREIGN, ES, ERR_OK},
    {"RS256", RS_HEADER, FOREIGN, RS, ERR_OK},
    {"no typ", "{\"typ\":null}", NULL, HS, ERR_OK},
    {"typ in lower case", "{\"typ\":\"jwt\"}", NULL, HS, ERR_OK},
    {"unknown header member", "{\"x5t\":\"abc\"}", NULL, HS, ERR_OK},
    {"unknown claim", NULL, "{\"email\":\"a@example.com\"}", HS, ERR_OK},
    {"device", NULL, "{\"device\":\"phone-1\"}", HS, ERR_OK},
    {"scope", NULL, "{\"scope\":\"chat\"}", HS, ERR_OK},
    {"nbf", NULL, "{\"nbf\":1800000000}", HS, ERR_OK},
    {"iat_ms", NULL, "{\"iat_ms\":1800000000999}", HS, ERR_OK},
    {"kind access", NULL, "{\"kind\":\"access\"}", HS, ERR_OK},
    {"use access", NULL, "{\"use\":\"access\"}", HS, ERR_OK},
    {"tenant that agrees", NULL, "{\"tenant\":\"" APP "\"}", HS, ERR_OK},
    {"a whole day", NULL, "{\"exp\":1800086400}", HS, ERR_OK},
    {"a day and the leeway", NULL, "{\"exp\":1800086460}", HS, ERR_OK},
    {"user id with every kind of character", NULL, "{\"sub\":\"Alice.B_c:1@example-2.com\"}", HS, ERR_OK},
    {"longest jti", NULL, "{\"jti\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", HS, ERR_OK},

    /* alg */
    {"alg none, no signature", "{\"alg\":\"none\"}", NULL, EMPTY, ERR_INVALID_TOKEN},
    {"alg none, one byte", "{\"alg\":\"none\"}", NULL, ONE_BYTE, ERR_INVALID_TOKEN},
    {"alg none, signed", "{\"alg\":\"none\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg None", "{\"alg\":\"None\"}", NULL, EMPTY, ERR_INVALID_TOKEN},
    {"alg nOnE", "{\"alg\":\"nOnE\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg none, unknown kid", "{\"alg\":\"none\",\"kid\":\"no-such-key\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg none, unknown app", "{\"alg\":\"none\"}", "{\"aud\":\"" NOBODY "\"}", HS, ERR_INVALID_TOKEN},
    {"alg empty", "{\"alg\":\"\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg missing", "{\"alg\":null}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg null", " {\"alg\":null,\"kid\":\"hs-key-1\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg number", "{\"alg\":256}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg list", "{\"alg\":[\"HS256\"]}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg object", "{\"alg\":{\"HS256\":1}}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg true", "{\"alg\":true}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg lower case", "{\"alg\":\"hs256\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg with a space", "{\"alg\":\"HS256 \"}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg HS512", "{\"alg\":\"HS512\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg HS384", "{\"alg\":\"HS384\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg PS256", "{\"alg\":\"PS256\",\"kid\":\"rsa-key-1\"}", FOREIGN, RS, ERR_INVALID_TOKEN},
    {"alg EdDSA", "{\"alg\":\"EdDSA\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"alg ES256K", "{\"alg\":\"ES256K\",\"kid\":\"ec-key-1\"}", FOREIGN, ES, ERR_INVALID_TOKEN},
    {"alg unknown", "{\"alg\":\"ROT13\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"two algs", " {\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"hs-key-1\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"two algs, the other way", " {\"alg\":\"HS256\",\"kid\":\"hs-key-1\",\"alg\":\"none\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"two algs by an escape", " {\"alg\":\"HS256\",\"kid\":\"hs-key-1\",\"\\u0061lg\":\"none\"}", NULL, HS, ERR_INVALID_TOKEN},

    /* confusion of keys */
    {"HS256 by the EC key as PEM", "{\"kid\":\"ec-key-1\"}", FOREIGN, HS_EC_PEM, ERR_INVALID_TOKEN},
    {"HS256 by the EC key as PEM, trimmed", "{\"kid\":\"ec-key-1\"}", FOREIGN, HS_EC_PEM_TRIMMED, ERR_INVALID_TOKEN},
    {"HS256 by the EC key as DER", "{\"kid\":\"ec-key-1\"}", FOREIGN, HS_EC_DER, ERR_INVALID_TOKEN},
    {"HS256 by the RSA key as PEM", "{\"kid\":\"rsa-key-1\"}", FOREIGN, HS_RSA_PEM, ERR_INVALID_TOKEN},
    {"HS256 by the RSA key as PEM, trimmed", "{\"kid\":\"rsa-key-1\"}", FOREIGN, HS_RSA_PEM_TRIMMED, ERR_INVALID_TOKEN},
    {"HS256 by the RSA key as DER", "{\"kid\":\"rsa-key-1\"}", FOREIGN, HS_RSA_DER, ERR_INVALID_TOKEN},
    {"HS256 by the secret, kid of the RSA key", "{\"kid\":\"rsa-key-1\"}", FOREIGN, HS, ERR_INVALID_TOKEN},
    {"RS256, kid of the secret", "{\"alg\":\"RS256\"}", NULL, RS, ERR_INVALID_TOKEN},
    {"ES256, kid of the secret", "{\"alg\":\"ES256\"}", NULL, ES, ERR_INVALID_TOKEN},
    {"ES256, kid of the RSA key", "{\"alg\":\"ES256\",\"kid\":\"rsa-key-1\"}", FOREIGN, ES, ERR_INVALID_TOKEN},
    {"RS256, kid of the EC key", "{\"alg\":\"RS256\",\"kid\":\"ec-key-1\"}", FOREIGN, RS, ERR_INVALID_TOKEN},
    {"secret of another app", NULL, NULL, HS_OTHER, ERR_INVALID_TOKEN},
    {"empty secret", NULL, NULL, HS_EMPTY_KEY, ERR_INVALID_TOKEN},

    /* signatures */
    {"HS256 unsigned", NULL, NULL, EMPTY, ERR_INVALID_TOKEN},
    {"HS256 one byte", NULL, NULL, ONE_BYTE, ERR_INVALID_TOKEN},
    {"HS256 one bit off", NULL, NULL, HS_BIT, ERR_INVALID_TOKEN},
    {"HS256 cut to 16 bytes", NULL, NULL, HS_SHORT, ERR_INVALID_TOKEN},
    {"HS256 a byte more", NULL, NULL, HS_LONG, ERR_INVALID_TOKEN},
    {"HS256 zeros", NULL, NULL, HS_ZERO, ERR_INVALID_TOKEN},
    {"ES256 unsigned", ES_HEADER, FOREIGN, EMPTY, ERR_INVALID_TOKEN},
    {"ES256 by a stranger", ES_HEADER, FOREIGN, ES_STRANGER, ERR_INVALID_TOKEN},
    {"ES256 as DER", ES_HEADER, FOREIGN, ES_DER, ERR_INVALID_TOKEN},
    {"ES256 r = 0", ES_HEADER, FOREIGN, ES_ZERO_R, ERR_INVALID_TOKEN},
    {"ES256 s = 0", ES_HEADER, FOREIGN, ES_ZERO_S, ERR_INVALID_TOKEN},
    {"ES256 r = s = 0", ES_HEADER, FOREIGN, ES_ZEROS, ERR_INVALID_TOKEN},
    {"ES256 r = n", ES_HEADER, FOREIGN, ES_R_ORDER, ERR_INVALID_TOKEN},
    {"ES256 s = n", ES_HEADER, FOREIGN, ES_S_ORDER, ERR_INVALID_TOKEN},
    {"ES256 all ones", ES_HEADER, FOREIGN, ES_ALL_ONES, ERR_INVALID_TOKEN},
    {"ES256 63 bytes", ES_HEADER, FOREIGN, ES_SHORT, ERR_INVALID_TOKEN},
    {"ES256 65 bytes", ES_HEADER, FOREIGN, ES_LONG, ERR_INVALID_TOKEN},
    {"ES256 one bit off", ES_HEADER, FOREIGN, ES_BIT, ERR_INVALID_TOKEN},
    {"RS256 unsigned", RS_HEADER, FOREIGN, EMPTY, ERR_INVALID_TOKEN},
    {"RS256 by a stranger", RS_HEADER, FOREIGN, RS_STRANGER, ERR_INVALID_TOKEN},
    {"RS256 one bit off", RS_HEADER, FOREIGN, RS_BIT, ERR_INVALID_TOKEN},
    {"RS256 255 bytes", RS_HEADER, FOREIGN, RS_SHORT, ERR_INVALID_TOKEN},
    {"RS256 257 bytes", RS_HEADER, FOREIGN, RS_LONG, ERR_INVALID_TOKEN},
    {"RS256 zeros", RS_HEADER, FOREIGN, RS_ZEROS, ERR_INVALID_TOKEN},
    {"RS256 the number one", RS_HEADER, FOREIGN, RS_ONE, ERR_INVALID_TOKEN},
    {"RS256 random", RS_HEADER, FOREIGN, RS_RANDOM, ERR_INVALID_TOKEN},

    /* kid */
    {"kid missing", "{\"kid\":null}", NULL, HS, ERR_INVALID_TOKEN},
    {"kid empty", "{\"kid\":\"\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"kid of 7", "{\"kid\":\"1234567\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"kid of 65", "{\"kid\":\"12345678901234567890123456789012345678901234567890123456789012345\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"kid number", "{\"kid\":12345678}", NULL, HS, ERR_INVALID_TOKEN},
    {"kid list", "{\"kid\":[\"hs-key-1\"]}", NULL, HS, ERR_INVALID_TOKEN},
    {"kid path", "{\"kid\":\"../../../../dev/null\"}", NULL, HS_EMPTY_KEY, ERR_INVALID_TOKEN},
    {"kid SQL", "{\"kid\":\"x' union select 'a' --\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"kid with a NUL", " {\"alg\":\"HS256\",\"kid\":\"hs-key-1\\u0000x\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"kid with a newline", "{\"kid\":\"hs-key-1\\n\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"kid not ASCII", "{\"kid\":\"hs-kéy-1\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"two kids", " {\"alg\":\"HS256\",\"kid\":\"hs-key-1\",\"kid\":\"hs-key-1\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"kid unknown", "{\"kid\":\"no-such-key\"}", NULL, HS, ERR_UNKNOWN_KID},
    {"kid in other case", "{\"kid\":\"HS-KEY-1\"}", NULL, HS, ERR_UNKNOWN_KID},
    {"kid of another app", "{\"kid\":\"hs-other\"}", NULL, HS_OTHER, ERR_UNKNOWN_KID},
    {"own kid, audience another app", NULL, "{\"aud\":\"" OTHER "\"}", HS, ERR_UNKNOWN_KID},
    {"unknown app", NULL, "{\"aud\":\"" NOBODY "\"}", HS, ERR_INVALID_TOKEN},

    /* header members that bring keys or change the reading */
    {"jwk", "{\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}", NULL, HS, ERR_INVALID_TOKEN},
    {"jku", "{\"jku\":\"https://evil.example/jwks\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"x5u", "{\"x5u\":\"https://evil.example/c\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"x5c", "{\"x5c\":[\"AAAA\"]}", NULL, HS, ERR_INVALID_TOKEN},
    {"crit", "{\"crit\":[\"exp\"]}", NULL, HS, ERR_INVALID_TOKEN},
    {"crit empty", "{\"crit\":[]}", NULL, HS, ERR_INVALID_TOKEN},
    {"b64", "{\"b64\":false}", NULL, HS, ERR_INVALID_TOKEN},
    {"zip", "{\"zip\":\"DEF\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"enc", "{\"enc\":\"A256GCM\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"nested", "{\"cty\":\"JWT\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"typ at+jwt", "{\"typ\":\"at+jwt\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"typ refresh", "{\"typ\":\"refresh+jwt\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"typ empty", "{\"typ\":\"\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"typ number", "{\"typ\":1}", NULL, HS, ERR_INVALID_TOKEN},
    {"typ null", " {\"alg\":\"HS256\",\"typ\":null,\"kid\":\"hs-key-1\"}", NULL, HS, ERR_INVALID_TOKEN},
    {"header an array", "[]", NULL, HS, ERR_INVALID_TOKEN},
    {"header a string", "\"HS256\"", NULL, HS, ERR_INVALID_TOKEN},
    {"header no JSON", "alg=HS256", NULL, HS, ERR_INVALID_TOKEN},
    {"header with text behind", " {\"alg\":\"HS256\",\"kid\":\"hs-key-1\"}{}", NULL, HS, ERR_INVALID_TOKEN},
    {"header not UTF-8", " {\"alg\":\"HS256\",\"kid\":\"hs-key-1\",\"a\":\"\xff\"}", NULL, HS, ERR_INVALID_TOKEN},

    /* exp, iat, nbf */
    {"exp missing", NULL, "{\"exp\":null}", HS, ERR_INVALID_TOKEN},
    {"exp string", NULL, "{\"exp\":\"1800003600\"}", HS, ERR_INVALID_TOKEN},
    {"exp float", NULL, "{\"exp\":1800003600.5}", HS, ERR_INVALID_TOKEN},
    {"exp whole float", NULL, "{\"exp\":1800003600.0}", HS, ERR_INVALID_TOKEN},
    {"exp 1e400", NULL, " {\"iss\":\"parley\",\"aud\":\"" APP "\",\"sub\":\"a\",\"exp\":1e400,\"iat\":1800000000,\"jti\":\"x\"}", HS, ERR_INVALID_TOKEN},
    {"exp 2^63", NULL, " {\"iss\":\"parley\",\"aud\":\"" APP "\",\"sub\":\"a\",\"exp\":9223372036854775808,\"iat\":1800000000,\"jti\":\"x\"}", HS, ERR_INVALID_TOKEN},
    {"exp 2^63-1", NULL, "{\"exp\":9223372036854775807}", HS, ERR_INVALID_TOKEN},
    {"exp negative", NULL, "{\"exp\":-1}", HS, ERR_INVALID_TOKEN},
    {"exp -2^63", NULL, "{\"exp\":-9223372036854775808}", HS, ERR_INVALID_TOKEN},
    {"exp zero", NULL, "{\"exp\":0}", HS, ERR_INVALID_TOKEN},
    {"exp true", NULL, "{\"exp\":true}", HS, ERR_INVALID_TOKEN},
    {"exp list", NULL, "{\"exp\":[1800003600]}", HS, ERR_INVALID_TOKEN},
    {"exp in milliseconds", NULL, "{\"exp\":1800003600000}", HS, ERR_INVALID_TOKEN},
    {"exp in ten years", NULL, "{\"exp\":2115360000}", HS, ERR_INVALID_TOKEN},
    {"exp a second beyond a day and the leeway", NULL, "{\"exp\":1800086461}", HS, ERR_INVALID_TOKEN},
    {"exp before iat", NULL, "{\"exp\":1799999999}", HS, ERR_INVALID_TOKEN},
    {"exp at iat", NULL, "{\"exp\":1800000000}", HS, ERR_INVALID_TOKEN},
    {"expired", NULL, "{\"exp\":1799990000,\"iat\":1799989000}", HS, ERR_TOKEN_EXPIRED},
    {"expired, ES256", ES_HEADER, "{\"iss\":\"https://id.example\",\"exp\":1799990000,\"iat\":1799989000}", ES, ERR_TOKEN_EXPIRED},
    {"expired, bad signature", NULL, "{\"exp\":1799990000,\"iat\":1799989000}", HS_BIT, ERR_INVALID_TOKEN},
    {"two exps", NULL, " {\"iss\":\"parley\",\"aud\":\"" APP "\",\"sub\":\"a\",\"exp\":1,\"exp\":1800003600,\"iat\":1800000000,\"jti\":\"x\"}", HS, ERR_INVALID_TOKEN},
    {"iat missing", NULL, "{\"iat\":null}", HS, ERR_INVALID_TOKEN},
    {"iat string", NULL, "{\"iat\":\"1800000000\"}", HS, ERR_INVALID_TOKEN},
    {"iat float", NULL, "{\"iat\":1800000000.25}", HS, ERR_INVALID_TOKEN},
    {"iat negative", NULL, "{\"iat\":-5}", HS, ERR_INVALID_TOKEN},
    {"iat in the future", NULL, "{\"iat\":1800000061}", HS, ERR_INVALID_TOKEN},
    {"iat far in the future", NULL, "{\"iat\":1900000000,\"exp\":1900003600}", HS, ERR_INVALID_TOKEN},
    {"iat_ms of another second", NULL, "{\"iat_ms\":1800000001000}", HS, ERR_INVALID_TOKEN},
    {"iat_ms float", NULL, "{\"iat_ms\":1800000000000.5}", HS, ERR_INVALID_TOKEN},
    {"iat_ms string", NULL, "{\"iat_ms\":\"1800000000000\"}", HS, ERR_INVALID_TOKEN},
    {"nbf in the future", NULL, "{\"nbf\":1800000061}", HS, ERR_INVALID_TOKEN},
    {"nbf string", NULL, "{\"nbf\":\"0\"}", HS, ERR_INVALID_TOKEN},
    {"nbf float", NULL, "{\"nbf\":0.5}", HS, ERR_INVALID_TOKEN},
    {"nbf negative", NULL, "{\"nbf\":-1}", HS, ERR_INVALID_TOKEN},
    {"nbf 2^63-1", NULL, "{\"nbf\":9223372036854775807}", HS, ERR_INVALID_TOKEN},

    /* aud, iss, sub */
    {"aud missing", NULL, "{\"aud\":null}", HS, ERR_INVALID_TOKEN},
    {"aud list of ours", NULL, "{\"aud\":[\"" APP "\"]}", HS, ERR_INVALID_TOKEN},
    {"aud list of ours and another's", NULL, "{\"aud\":[\"" APP "\",\"" OTHER "\"]}", HS, ERR_INVALID_TOKEN},
    {"aud empty", NULL, "{\"aud\":\"\"}", HS, ERR_INVALID_TOKEN},
    {"aud prefix", NULL, "{\"aud\":\"app_01h455vb4pex5vsknk084sn02\"}", HS, ERR_INVALID_TOKEN},
    {"aud with more behind", NULL, "{\"aud\":\"" APP "x\"}", HS, ERR_INVALID_TOKEN},
    {"aud in upper case", NULL, "{\"aud\":\"APP_01H455VB4PEX5VSKNK084SN02Q\"}", HS, ERR_INVALID_TOKEN},
    {"aud of another type", NULL, "{\"aud\":\"grp_01h455vb4pex5vsknk084sn02q\"}", HS, ERR_INVALID_TOKEN},
    {"aud number", NULL, "{\"aud\":1}", HS, ERR_INVALID_TOKEN},
    {"two auds", NULL, " {\"iss\":\"parley\",\"aud\":\"" OTHER "\",\"aud\":\"" APP "\",\"sub\":\"a\",\"exp\":1800003600,\"iat\":1800000000,\"jti\":\"x\"}", HS, ERR_INVALID_TOKEN},
    {"iss missing", NULL, "{\"iss\":null}", HS, ERR_INVALID_TOKEN},
    {"iss other", NULL, "{\"iss\":\"somebody\"}", HS, ERR_INVALID_TOKEN},
    {"iss empty", NULL, "{\"iss\":\"\"}", HS, ERR_INVALID_TOKEN},
    {"iss prefix", NULL, "{\"iss\":\"parle\"}", HS, ERR_INVALID_TOKEN},
    {"iss with more behind", NULL, "{\"iss\":\"parley/\"}", HS, ERR_INVALID_TOKEN},
    {"iss list", NULL, "{\"iss\":[\"parley\"]}", HS, ERR_INVALID_TOKEN},
    {"iss of the deployment by a foreign key", ES_HEADER, NULL, ES, ERR_INVALID_TOKEN},
    {"iss foreign by the deployment's key", NULL, FOREIGN, HS, ERR_INVALID_TOKEN},
    {"sub missing", NULL, "{\"sub\":null}", HS, ERR_INVALID_TOKEN},
    {"sub empty", NULL, "{\"sub\":\"\"}", HS, ERR_INVALID_TOKEN},
    {"sub number", NULL, "{\"sub\":42}", HS, ERR_INVALID_TOKEN},
    {"sub list", NULL, "{\"sub\":[\"alice\"]}", HS, ERR_INVALID_TOKEN},
    {"sub with a newline", NULL, "{\"sub\":\"alice\\n\"}", HS, ERR_INVALID_TOKEN},
    {"sub with an escape sequence", NULL, "{\"sub\":\"\\u001b[2Jalice\"}", HS, ERR_INVALID_TOKEN},
    {"sub with a slash", NULL, "{\"sub\":\"../alice\"}", HS, ERR_INVALID_TOKEN},
    {"sub with a NUL", NULL, " {\"iss\":\"parley\",\"aud\":\"" APP "\",\"sub\":\"alice\\u0000\",\"exp\":1800003600,\"iat\":1800000000,\"jti\":\"x\"}", HS, ERR_INVALID_TOKEN},
    {"sub of 129", NULL, "{\"sub\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", HS, ERR_INVALID_TOKEN},
    {"two subs", NULL, " {\"iss\":\"parley\",\"aud\":\"" APP "\",\"sub\":\"alice\",\"sub\":\"bob\",\"exp\":1800003600,\"iat\":1800000000,\"jti\":\"x\"}", HS, ERR_INVALID_TOKEN},

    /* the other claims */
    {"jti missing", NULL, "{\"jti\":null}", HS, ERR_INVALID_TOKEN},
    {"jti empty", NULL, "{\"jti\":\"\"}", HS, ERR_INVALID_TOKEN},
    {"jti number", NULL, "{\"jti\":1}", HS, ERR_INVALID_TOKEN},
    {"jti with a control character", NULL, "{\"jti\":\"a\\tb\"}", HS, ERR_INVALID_TOKEN},
    {"jti not ASCII", NULL, "{\"jti\":\"é\"}", HS, ERR_INVALID_TOKEN},
    {"jti of 129", NULL, "{\"jti\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", HS, ERR_INVALID_TOKEN},
    {"device empty", NULL, "{\"device\":\"\"}", HS, ERR_INVALID_TOKEN},
    {"device with a space", NULL, "{\"device\":\"my phone\"}", HS, ERR_INVALID_TOKEN},
    {"device number", NULL, "{\"device\":1}", HS, ERR_INVALID_TOKEN},
    {"device null", NULL, " {\"iss\":\"parley\",\"aud\":\"" APP "\",\"sub\":\"a\",\"exp\":1800003600,\"iat\":1800000000,\"jti\":\"x\",\"device\":null}", HS, ERR_INVALID_TOKEN},
    {"scope list", NULL, "{\"scope\":[\"chat\"]}", HS, ERR_INVALID_TOKEN},
    {"kind refresh", NULL, "{\"kind\":\"refresh\"}", HS, ERR_INVALID_TOKEN},
    {"kind media", NULL, "{\"kind\":\"media\"}", HS, ERR_INVALID_TOKEN},
    {"use refresh", NULL, "{\"use\":\"refresh\"}", HS, ERR_INVALID_TOKEN},
    {"use number", NULL, "{\"use\":1}", HS, ERR_INVALID_TOKEN},
    {"token_use id", NULL, "{\"token_use\":\"id\"}", HS, ERR_INVALID_TOKEN},
    {"tenant that contradicts", NULL, "{\"tenant\":\"" OTHER "\"}", HS, ERR_INVALID_TOKEN},
    {"tenant number", NULL, "{\"tenant\":1}", HS, ERR_INVALID_TOKEN},
    {"claims an array", NULL, "[1]", HS, ERR_INVALID_TOKEN},
    {"claims a token", NULL, "eyJhbGciOiJub25lIn0.e30.", HS, ERR_INVALID_TOKEN},
    {"claims a number", NULL, "1", HS, ERR_INVALID_TOKEN},
    {"claims no JSON", NULL, "sub=alice", HS, ERR_INVALID_TOKEN},
    {"claims empty object", NULL, " {}", HS, ERR_INVALID_TOKEN},
    {"claims not UTF-8", NULL, " {\"iss\":\"parley\",\"aud\":\"" APP "\",\"sub\":\"a\",\"exp\":1800003600,\"iat\":1800000000,\"jti\":\"x\",\"n\":\"\xc3\x28\"}", HS, ERR_INVALID_TOKEN},
    {"claims with text behind", NULL, " {\"iss\":\"parley\",\"aud\":\"" APP "\",\"sub\":\"a\",\"exp\":1800003600,\"iat\":1800000000,\"jti\":\"x\"} x", HS, ERR_INVALID_TOKEN},
};
/* clang-format on */

static void table(void **state)
{
    (void)state;
    assert_true(COUNT(cases) >= 120);
    for (size_t i = 0; i < COUNT(cases); i++) {
        expect(cases[i].name, forge(merged(HEADER, cases[i].header), merged(CLAIMS, cases[i].claims), cases[i].signer), NOW * 1000LL,
               cases[i].code);
    }
}

static void what_a_token_says(void **state)
{
    (void)state;
    struct jws j;
    struct err e;
    const char *patch = "{\"device\":\"phone-1\",\"iat_ms\":1800000000321,\"nbf\":1799999999}";
    assert_int_equal(check_at(forge(HEADER, merged(CLAIMS, patch), HS), NOW * 1000LL, &j, &e), 0);
    char app[ID_TEXT_MAX];
    assert_string_equal(app_id_print(&j.app, app), APP);
    assert_string_equal(j.user.s, "alice");
    assert_string_equal(j.device.s, "phone-1");
    assert_string_equal(j.kid, "hs-key-1");
    assert_string_equal(j.alg, "HS256");
    assert_string_equal(j.jti, "7xKqZ");
    assert_string_equal(j.issuer, "parley");
    assert_true(j.exp == NOW + 3600 && j.iat == NOW && j.nbf == NOW - 1 && j.issued_ms == NOW * 1000LL + 321);
    assert_int_equal(check_at(forge(HEADER, CLAIMS, HS), NOW * 1000LL, &j, &e), 0);
    assert_string_equal(j.device.s, "");
    assert_true(j.issued_ms == NOW * 1000LL && j.nbf == 0);
}

/* ---- the text around the parts ---- */

static char *spliced(const char *text, size_t at, const char *with, size_t without)
{
    return arena_printf(a, "%.*s%s%s", (int)at, text, with, text + at + without);
}

static void texts(void **state)
{
    (void)state;
    const char *good = forge(HEADER, CLAIMS, HS), *dot = strchr(good, '.'), *last = strrchr(good, '.');
    size_t len = strlen(good);
    char *big = arena_alloc(a, (1 << 20) + 1);
    memset(big, 'a', 1 << 20);
    const struct {
        const char *name, *text;
    } bad[] = {
        {"one part", arena_dup(a, good, (size_t)(dot - good))},
        {"two parts", arena_dup(a, good, (size_t)(last - good))},
        {"two parts and a dot", arena_dup(a, good, (size_t)(last + 1 - good))},
        {"four parts", arena_printf(a, "%s.AAAA", good)},
        {"four parts, empty", arena_printf(a, "%s.", good)},
        {"five parts", "eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA"},
        {"empty header", dot},
        {"empty claims", spliced(good, (size_t)(dot + 1 - good), "", (size_t)(last - dot - 1))},
        {"dots alone", ".."},
        {"a dot", "."},
        {"a word", "token"},
        {"padding of the signature", arena_printf(a, "%s=", good)},
        {"padding of the header", spliced(good, (size_t)(dot - good), "==", 0)},
        {"a space in front", arena_printf(a, " %s", good)},
        {"a space behind", arena_printf(a, "%s ", good)},
        {"a newline behind", arena_printf(a, "%s\n", good)},
        {"a newline inside", spliced(good, 10, "\n", 0)},
        {"a plus", spliced(good, len - 5, "+", 1)},
        {"a slash", spliced(good, len - 5, "/", 1)},
        {"a percent", spliced(good, len - 5, "%", 1)},
        {"not ASCII", spliced(good, len - 5, "\xc3\xa9", 2)},
        {"a Bearer in front", arena_printf(a, "Bearer %s", good)},
        {"1 MiB", big},
        {"1 MiB behind a dot", arena_printf(a, "%.*s.%s", (int)(last - good), good, big)},
        {"an API key", "ply_live_0123456789AB_abcdefghijklmnopqrstuvwxyzABCDEFGHIJ01234563L0H6z"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        looked_up = 0;
        expect(bad[i].name, bad[i].text, NOW * 1000LL, ERR_INVALID_TOKEN);
        assert_int_equal(looked_up, 0);
    }
}

/* 32 bytes are 43 digits, of which the last carries four bits: three more texts decode to the same bytes for a lax reader. */
static void trailing_bits(void **state)
{
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *good = forge(HEADER, CLAIMS, HS);
    size_t end = strlen(good) - 1, value = (size_t)(strchr(digits, good[end]) - digits);
    assert_int_equal(value % 4, 0);
    for (size_t i = 1; i < 4; i++) {
        char *text = arena_strdup(a, good);
        text[end] = digits[value + i];
        expect("trailing bits", text, NOW * 1000LL, ERR_INVALID_TOKEN);
    }
}

static void every_changed_byte_is_refused(void **state)
{
    (void)state;
    const char *good = forge(HEADER, CLAIMS, HS);
    struct err e;
    struct jws j;
    for (size_t i = 0; i < strlen(good); i++) {
        char *text = arena_strdup(a, good);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_int_equal(check_at(text, NOW * 1000LL, &j, &e), -1);
        text[i] = '\0';
        assert_int_equal(check_at(text, NOW * 1000LL, &j, &e), -1);
    }
}

static void sizes(void **state)
{
    (void)state;
    for (int n = 5000; n < 7000; n += 1) {
        char *filler = arena_alloc(a, (size_t)n + 1);
        memset(filler, 'x', (size_t)n);
        char *text = forge(HEADER, merged(CLAIMS, arena_printf(a, "{\"filler\":\"%s\"}", filler)), HS);
        if (strlen(text) >= TOKEN_MAX - 4) {
            expect("at the limit", text, NOW * 1000LL, strlen(text) <= TOKEN_MAX ? ERR_OK : ERR_INVALID_TOKEN);
        }
        if (strlen(text) > TOKEN_MAX + 4) {
            return;
        }
    }
    fail();
}

static void depth(void **state)
{
    (void)state;
    char *deep = arena_alloc(a, 5001);
    memset(deep, '[', 2500);
    memset(deep + 2500, ']', 2500);
    expect("depth 2,500", forge(HEADER, arena_printf(a, " {\"x\":%s}", deep), HS), NOW * 1000LL, ERR_INVALID_TOKEN);
    memset(deep, '[', 5000);
    expect("depth 5,000, open", forge(HEADER, arena_printf(a, " {\"x\":%s", deep), HS), NOW * 1000LL, ERR_INVALID_TOKEN);
    expect("deep header", forge(arena_printf(a, " {\"x\":%s", deep), CLAIMS, HS), NOW * 1000LL, ERR_INVALID_TOKEN);
}

/* ---- time ---- */

static void leeway(void **state)
{
    (void)state;
    const char *text = forge(HEADER, merged(CLAIMS, "{\"nbf\":1800000100}"), HS);
    const int64_t exp_ms = (NOW + 3600) * 1000LL, iat_ms = NOW * 1000LL, nbf_ms = (NOW + 100) * 1000LL,
                  leeway_ms = TOKEN_LEEWAY_SECONDS * 1000;
    expect("last moment", text, exp_ms + leeway_ms - 1, ERR_OK);
    expect("expired", text, exp_ms + leeway_ms, ERR_TOKEN_EXPIRED);
    expect("at exp", text, exp_ms, ERR_OK);
    expect("first moment of nbf", text, nbf_ms - leeway_ms, ERR_OK);
    expect("before nbf", text, nbf_ms - leeway_ms - 1, ERR_INVALID_TOKEN);
    text = forge(HEADER, CLAIMS, HS);
    expect("first moment of iat", text, iat_ms - leeway_ms, ERR_OK);
    expect("before iat", text, iat_ms - leeway_ms - 1, ERR_INVALID_TOKEN);
}

/* A verdict on the signature that was given before is not asked for again; everything else is. */
static void verified_before(void **state)
{
    (void)state;
    say_verified = true;
    expect("signature known", forge(HEADER, CLAIMS, HS_BIT), NOW * 1000LL, ERR_OK);
    expect("alg", forge(merged(HEADER, "{\"alg\":\"ES256\"}"), CLAIMS, ES), NOW * 1000LL, ERR_INVALID_TOKEN);
    expect("exp", forge(HEADER, CLAIMS, HS_BIT), (NOW + 7200) * 1000LL, ERR_TOKEN_EXPIRED);
    expect("iss", forge(HEADER, merged(CLAIMS, "{\"iss\":\"x\"}"), HS_BIT), NOW * 1000LL, ERR_INVALID_TOKEN);
    say_verified = false;
}

/* ---- keys ---- */

static void keys_that_do_not_fit(void **state)
{
    (void)state;
    EVP_PKEY *p384 = EVP_EC_gen("P-384"), *small = EVP_RSA_gen(1024), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    const struct {
        const char *alg, *bytes;
        size_t len;
    } bad[] = {
        {"HS256", "", 0},
        {"HS256", "thirty-one bytes of test secret", 31},
        {"HS512", (const char *)secret, 32},
        {"none", (const char *)secret, 32},
        {"ES256", (const char *)secret, 32},
        {"ES256", forge_pem(a, rsa), strlen(forge_pem(a, rsa))},
        {"RS256", forge_pem(a, ec), strlen(forge_pem(a, ec))},
        {"ES256", forge_pem(a, p384), strlen(forge_pem(a, p384))},
        {"RS256", forge_pem(a, small), strlen(forge_pem(a, small))},
        {"ES256", forge_pem(a, ed), strlen(forge_pem(a, ed))},
        {"RS256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 56},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct jws_key k;
        struct err e = {0};
        assert_int_equal(jws_key_init(&k, bad[i].alg, "parley", bad[i].bytes, bad[i].len, &e), -1);
        assert_int_equal(e.code, ERR_INTERNAL);
    }
    EVP_PKEY_free(p384);
    EVP_PKEY_free(small);
    EVP_PKEY_free(ed);
}

static void signing(void **state)
{
    (void)state;
    struct err e = {0};
    struct jws j;
    json_t *claims = json_read(a, CLAIMS, strlen(CLAIMS), &e);
    char *text = jws_sign(a, "hs-key-1", secret, sizeof(secret), claims, &e);
    assert_non_null(text);
    assert_int_equal(check_at(text, NOW * 1000LL, &j, &e), 0);
    assert_string_equal(j.user.s, "alice");
    assert_true(json_equal(tokens_claims(a, text), claims));
}

static void claims_of_anything(void **state)
{
    (void)state;
    assert_null(tokens_claims(a, NULL));
    assert_null(tokens_claims(a, ""));
    assert_null(tokens_claims(a, "a.b"));
    assert_null(tokens_claims(a, "a.b.c"));
    assert_non_null(tokens_claims(a, forge("{}", "{\"sub\":1}", ONE_BYTE)));
}

static void missing(void **state)
{
    (void)state;
    struct token t;
    struct err e = {0};
    assert_int_equal(tokens_verify(a, NULL, &t, NULL, &e), -1);
    assert_int_equal(e.code, ERR_MISSING_CREDENTIALS);
    assert_int_equal(tokens_verify(a, "", &t, NULL, &e), -1);
    assert_int_equal(e.code, ERR_MISSING_CREDENTIALS);
    assert_int_equal(tokens_verify(a, "x.y.z", &t, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID_TOKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(what_a_token_says),
        cmocka_unit_test(texts),
        cmocka_unit_test(trailing_bits),
        cmocka_unit_test(every_changed_byte_is_refused),
        cmocka_unit_test(sizes),
        cmocka_unit_test(depth),
        cmocka_unit_test(leeway),
        cmocka_unit_test(verified_before),
        cmocka_unit_test(keys_that_do_not_fit),
        cmocka_unit_test(signing),
        cmocka_unit_test(claims_of_anything),
        cmocka_unit_test(missing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
