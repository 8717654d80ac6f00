#include "tests/unit/unit.h"

#include "tenants/jws.h"
#include "tenants/registry.h"
#include "tenants/signing_keys.h"
#include "tenants/tokens.h"
#include "tests/unit/token_forge.h"

#include <openssl/core_names.h>

static struct arena *a;
static EVP_PKEY *ec, *rsa;
static json_t *ec_jwk, *rsa_jwk;

static const char *number(EVP_PKEY *key, const char *name)
{
    uint8_t bytes[1024];
    BIGNUM *n = NULL;
    EVP_PKEY_get_bn_param(key, name, &n);
    int len = BN_bn2bin(n, bytes);
    BN_free(n);
    return crypto_base64url(a, bytes, (size_t)len);
}

/* Coordinates keep their leading zeros. */
static const char *coordinate(EVP_PKEY *key, const char *name)
{
    uint8_t bytes[32];
    BIGNUM *n = NULL;
    EVP_PKEY_get_bn_param(key, name, &n);
    BN_bn2binpad(n, bytes, sizeof(bytes));
    BN_free(n);
    return crypto_base64url(a, bytes, sizeof(bytes));
}

static int setup(void **state)
{
    (void)state;
    struct err e = {0};
    const struct config c = {.master_key = "00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff", .issuer = "deployment"};
    a = arena_new("test");
    assert_int_equal(registry_start(&c, &e), 0);
    tokens_start(&c);
    ec = EVP_EC_gen("P-256");
    rsa = EVP_RSA_gen(2048);
    ec_jwk = json_own(a, json_pack("{s:s, s:s, s:s, s:s}", "kty", "EC", "crv", "P-256", "x", coordinate(ec, OSSL_PKEY_PARAM_EC_PUB_X), "y",
                                   coordinate(ec, OSSL_PKEY_PARAM_EC_PUB_Y)));
    rsa_jwk = json_own(a, json_pack("{s:s, s:s, s:s}", "kty", "RSA", "n", number(rsa, OSSL_PKEY_PARAM_RSA_N), "e", "AQAB"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(ec);
    EVP_PKEY_free(rsa);
    arena_free(&a);
    return 0;
}

/* ---- from JWK to a key that verifies ---- */

static int only_key(void *ctx, const struct jws *j, const struct jws_key **k_r, bool *verified_r, struct err *e)
{
    (void)j;
    (void)e;
    *k_r = ctx;
    *verified_r = false;
    return 1;
}

static void verifies(const struct signing_key *k, EVP_PKEY *private)
{
    static const char claims[] = "{\"iss\":\"deployment\",\"aud\":\"app_01h455vb4pex5vsknk084sn02q\",\"sub\":\"a\",\"exp\":2000000100,"
                                 "\"iat\":2000000000,\"jti\":\"1\"}";
    struct jws_key key;
    struct jws j;
    struct err e = {0};
    size_t len = 64;
    char *body = forge_body(a, arena_printf(a, "{\"alg\":\"%s\",\"kid\":\"12345678\"}", k->alg), claims);
    const uint8_t *sig = strcmp(k->alg, "ES256") == 0 ? forge_sign_ec(a, private, body) : forge_sign(a, private, body, &len);
    assert_int_equal(jws_key_init(&key, k->alg, k->issuer, k->public_pem, strlen(k->public_pem), &e), 0);
    assert_int_equal(jws_check(a, forge_token(a, body, sig, len), INT64_C(2000000001000), only_key, &key, &j, &e), 0);
    jws_key_clear(&key);
}

static void good_keys(void **state)
{
    (void)state;
    struct signing_key k;
    struct err e = {0};
    assert_int_equal(signing_keys_from_jwk(a, "ES256", ec_jwk, NULL, &k, &e), 0);
    assert_string_equal(k.alg, "ES256");
    assert_string_equal(k.issuer, "deployment");
    assert_int_equal(strlen(k.kid), 22);
    assert_true(json_equal(k.public_jwk, ec_jwk));
    assert_string_equal(k.public_pem, forge_pem(a, ec));
    verifies(&k, ec);

    assert_int_equal(signing_keys_from_jwk(a, "RS256", rsa_jwk, NULL, &k, &e), 0);
    assert_true(json_equal(k.public_jwk, rsa_jwk));
    assert_string_equal(k.public_pem, forge_pem(a, rsa));
    verifies(&k, rsa);

    json_t *named = json_own(a, json_deep_copy(ec_jwk));
    json_object_set_new(named, "kid", json_string("my-key_1"));
    json_object_set_new(named, "alg", json_string("ES256"));
    json_object_set_new(named, "use", json_string("sig"));
    json_object_set_new(named, "key_ops", json_pack("[s]", "verify"));
    assert_int_equal(signing_keys_from_jwk(a, "ES256", named, "https://id.example", &k, &e), 0);
    assert_string_equal(k.kid, "my-key_1");
    assert_string_equal(k.issuer, "https://id.example");
    assert_true(json_equal(k.public_jwk, ec_jwk));
    json_object_set_new(named, "kid", json_string("short"));
    assert_int_equal(signing_keys_from_jwk(a, "ES256", named, NULL, &k, &e), 0);
    assert_int_equal(strlen(k.kid), 22);
}

/* ---- refusals ---- */

static const char *modulus(int bits, int first, int last)
{
    static uint8_t n[2048];
    size_t len = (size_t)(bits + 7) / 8;
    memset(n, 0xa5, len);
    n[0] = (uint8_t)first;
    n[len - 1] = (uint8_t)last;
    return crypto_base64url(a, n, len);
}

static void refused(const char *alg, json_t *base, const char *member, json_t *value, const char *pointer)
{
    json_t *jwk = json_own(a, json_deep_copy(base));
    struct signing_key k = {.kid = "untouched"};
    struct err e = {0};
    if (value == NULL) {
        json_object_del(jwk, member);
    } else {
        json_object_set_new(jwk, member, value);
    }
    if (signing_keys_from_jwk(a, alg, jwk, NULL, &k, &e) != -1 || e.code != ERR_VALIDATION_FAILED || strcmp(e.pointer, pointer) != 0) {
        fail_msg("%s without a refusal at %s: %s %s", member, pointer, e.pointer, e.msg);
    }
    assert_string_equal(k.kid, "untouched");
}

static void ec_refusals(void **state)
{
    (void)state;
    static const char *const private[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    uint8_t ones[33];
    memset(ones, 0xff, sizeof(ones));
    for (size_t i = 0; i < COUNT(private); i++) {
        char pointer[16];
        snprintf(pointer, sizeof(pointer), "/jwk/%s", private[i]);
        refused("ES256", ec_jwk, private[i], json_string("AAAA"), pointer);
    }
    refused("ES256", ec_jwk, "kty", NULL, "/jwk/kty");
    refused("ES256", ec_jwk, "kty", json_string("RSA"), "/jwk/kty");
    refused("ES256", ec_jwk, "kty", json_string("oct"), "/jwk/kty");
    refused("ES256", ec_jwk, "kty", json_string("OKP"), "/jwk/kty");
    refused("ES256", ec_jwk, "kty", json_string("ec"), "/jwk/kty");
    refused("ES256", ec_jwk, "crv", NULL, "/jwk/crv");
    refused("ES256", ec_jwk, "crv", json_string("P-384"), "/jwk/crv");
    refused("ES256", ec_jwk, "crv", json_string("secp256k1"), "/jwk/crv");
    refused("ES256", ec_jwk, "alg", json_string("RS256"), "/jwk/alg");
    refused("ES256", ec_jwk, "alg", json_integer(1), "/jwk/alg");
    refused("ES256", ec_jwk, "use", json_string("enc"), "/jwk/use");
    refused("ES256", ec_jwk, "key_ops", json_pack("[s]", "sign"), "/jwk/key_ops");
    refused("ES256", ec_jwk, "key_ops", json_pack("[s,s]", "verify", "sign"), "/jwk/key_ops");
    refused("ES256", ec_jwk, "key_ops", json_string("verify"), "/jwk/key_ops");
    refused("ES256", ec_jwk, "x", NULL, "/jwk/x");
    refused("ES256", ec_jwk, "y", NULL, "/jwk/y");
    refused("ES256", ec_jwk, "x", json_integer(7), "/jwk/x");
    refused("ES256", ec_jwk, "x", json_string("not base64!"), "/jwk/x");
    refused("ES256", ec_jwk, "x", json_string(arena_printf(a, "%s=", json_string_value(json_object_get(ec_jwk, "x")))), "/jwk/x");
    refused("ES256", ec_jwk, "x", json_string("AAAA"), "/jwk/x");
    refused("ES256", ec_jwk, "y", json_string(crypto_base64url(a, ones, 33)), "/jwk/y");
    refused("ES256", ec_jwk, "x", json_string(crypto_base64url(a, ones, 32)), "/jwk/x"); /* beyond the field */
    refused("ES256", ec_jwk, "y", json_incref(json_object_get(ec_jwk, "x")), "/jwk/x");  /* not on the curve */
    json_t *origin = json_own(a, json_deep_copy(ec_jwk));
    memset(ones, 0, sizeof(ones));
    json_object_set_new(origin, "x", json_string(crypto_base64url(a, ones, 32)));
    refused("ES256", origin, "y", json_string(crypto_base64url(a, ones, 32)), "/jwk/x");
}

static void rsa_refusals(void **state)
{
    (void)state;
    refused("RS256", rsa_jwk, "d", json_string("AAAA"), "/jwk/d");
    refused("RS256", rsa_jwk, "kty", json_string("EC"), "/jwk/kty");
    refused("RS256", rsa_jwk, "alg", json_string("PS256"), "/jwk/alg");
    refused("RS256", rsa_jwk, "n", NULL, "/jwk/n");
    refused("RS256", rsa_jwk, "n", json_string(""), "/jwk/n");
    refused("RS256", rsa_jwk, "n", json_string("AA"), "/jwk/n");
    refused("RS256", rsa_jwk, "n", json_string(modulus(1024, 0xff, 1)), "/jwk/n");
    refused("RS256", rsa_jwk, "n", json_string(modulus(2048, 0x7f, 1)), "/jwk/n"); /* 2,047 bits */
    refused("RS256", rsa_jwk, "n", json_string(modulus(2048, 0xff, 2)), "/jwk/n"); /* even */
    refused("RS256", rsa_jwk, "n", json_string(modulus(2056, 0x00, 1)), "/jwk/n");
    refused("RS256", rsa_jwk, "n", json_string(modulus(8200, 0x01, 1)), "/jwk/n"); /* 8,193 bits */
    refused("RS256", rsa_jwk, "n", json_string(modulus(16000, 0x01, 1)), "/jwk/n");
    refused("RS256", rsa_jwk, "e", NULL, "/jwk/e");
    refused("RS256", rsa_jwk, "e", json_string("AQ"), "/jwk/e");           /* 1 */
    refused("RS256", rsa_jwk, "e", json_string("Aw"), "/jwk/e");           /* 3 */
    refused("RS256", rsa_jwk, "e", json_string("AQAA"), "/jwk/e");         /* 65,536 */
    refused("RS256", rsa_jwk, "e", json_string("AAEAAQ"), "/jwk/e");       /* a leading zero */
    refused("RS256", rsa_jwk, "e", json_string("AQAC"), "/jwk/e");         /* even */
    refused("RS256", rsa_jwk, "e", json_string("AQAAAAAAAAAB"), "/jwk/e"); /* 2^64 + 1 */
    refused("RS256", rsa_jwk, "e", json_integer(65537), "/jwk/e");
}

static void other_refusals(void **state)
{
    (void)state;
    struct signing_key k;
    struct err e = {0};
    assert_int_equal(signing_keys_from_jwk(a, "HS256", ec_jwk, NULL, &k, &e), -1);
    assert_string_equal(e.pointer, "/alg");
    assert_int_equal(signing_keys_from_jwk(a, "none", ec_jwk, NULL, &k, &e), -1);
    assert_int_equal(signing_keys_from_jwk(a, "ES256", ec_jwk, "", &k, &e), -1);
    assert_string_equal(e.pointer, "/issuer");
    json_t *text = json_own(a, json_string("{}"));
    assert_int_equal(signing_keys_from_jwk(a, "ES256", text, NULL, &k, &e), -1);
    assert_string_equal(e.pointer, "/jwk");
}

/* ---- secrets ---- */

static void secrets_are_sealed(void **state)
{
    (void)state;
    struct signing_key k, moved;
    struct err e = {0};
    const char *shown;
    uint8_t *secret;
    size_t len;
    struct app_id app = app_id_new(), other = app_id_new();
    signing_keys_new_hs256(a, &app, &k, &shown);
    assert_string_equal(k.alg, "HS256");
    assert_string_equal(k.issuer, "deployment");
    assert_true(jws_is_kid(k.kid));
    assert_int_equal(signing_keys_open(a, &app, &k, &secret, &len, &e), 0);
    assert_int_equal(len, 32);
    assert_string_equal(crypto_base64url(a, secret, len), shown);
    assert_null(memmem(k.secret_sealed, k.secret_sealed_len, secret, 8));

    moved = k;
    moved.kid = "another-kid";
    assert_int_equal(signing_keys_open(a, &app, &moved, &secret, &len, &e), -1);
    assert_int_equal(signing_keys_open(a, &other, &k, &secret, &len, &e), -1);
    assert_int_equal(registry_open(a, &app, "id_key", k.secret_sealed, k.secret_sealed_len, &secret, &len, &e), -1);

    k.created_ms = 1;
    json_t *v = signing_key_json(a, &k);
    assert_string_equal(json_str(v, "status", ""), "active");
    assert_null(strstr(json_write(a, v, NULL), shown));
    assert_int_equal(json_object_size(v), 5);
    k.revoked_ms = 2;
    assert_string_equal(json_str(signing_key_json(a, &k), "status", ""), "revoked");
}

/* ---- the master key and the settings of apps, which need no database either ---- */

static void master_keys(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "00",
                                      "zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
                                      "0011223344556677 899aabbccddeeff00112233445566778899aabbccddeeff0",
                                      "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00",
                                      "\x10\x10"
                                      "112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"};
    struct err e = {0};
    uint8_t one[32], two[32];
    registry_derive("bus", one);
    registry_derive("cursor", two);
    assert_memory_not_equal(one, two, 32);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(registry_start(&(struct config){.master_key = bad[i]}, &e), -1);
    }
    assert_int_equal(registry_start(&(struct config){.master_key = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"}, &e),
                     0);
    registry_derive("bus", two);
    assert_memory_equal(one, two, 32);
}

static void settings(void **state)
{
    (void)state;
    static const struct {
        const char *features, *limits, *origins, *pointer; /* NULL = good */
    } cases[] = {
        {"{}", "{}", "[]", NULL},
        {"{\"typing\":false,\"games\":true}", "{\"group_members\":1}", "[\"https://chat.example.com\"]", NULL},
        {"{\"typing\":null}", "{\"group_members\":1000000,\"message_chars\":null}", "null", NULL},
        {"{\"core\":true}", "{}", "[\"http://localhost:3000\",\"capacitor://localhost\",\"http://[::1]:8080\",\"https://192.0.2.1\"]",
         NULL},
        {"{\"core\":false}", "{}", "[]", "/features/core"},
        {"{\"typing\":1}", "{}", "[]", "/features/typing"},
        {"{\"telepathy\":true}", "{}", "[]", "/features/telepathy"},
        {"{\"a/b\":true}", "{}", "[]", "/features"},
        {"{\"\u00e9\":true}", "{}", "[]", "/features"},
        {"{}", "{\"group_members\":0}", "[]", "/limits/group_members"},
        {"{}", "{\"group_members\":1000001}", "[]", "/limits/group_members"},
        {"{}", "{\"group_members\":1.5}", "[]", "/limits/group_members"},
        {"{}", "{\"group_members\":\"5\"}", "[]", "/limits/group_members"},
        {"{}", "{\"wishes\":3}", "[]", "/limits/wishes"},
        {"{}", "{}", "\"https://a.example\"", "/origins"},
        {"{}", "{}", "[\"https://a.example\",\"*\"]", "/origins/1"},
        {"{}", "{}", "[\"https://a.example/\"]", "/origins/0"},
        {"{}", "{}", "[\"https://A.example\"]", "/origins/0"},
        {"{}", "{}", "[\"https://\"]", "/origins/0"},
        {"{}", "{}", "[\"a.example\"]", "/origins/0"},
        {"{}", "{}", "[\"https://a.example:0\"]", "/origins/0"},
        {"{}", "{}", "[\"https://a.example:65536\"]", "/origins/0"},
        {"{}", "{}", "[\"https://a.example:\"]", "/origins/0"},
        {"{}", "{}", "[\"https://u@a.example\"]", "/origins/0"},
        {"{}", "{}", "[\"https://[::1\"]", "/origins/0"},
        {"{}", "{}", "[\"https://[]\"]", "/origins/0"},
        {"{}", "{}", "[\"https://a.example\\n\"]", "/origins/0"},
        {"{}", "{}", "[null]", "/origins/0"},
        {"{}", "{}", "[7]", "/origins/0"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = {0};
        json_t *f = json_read(a, cases[i].features, strlen(cases[i].features), &e),
               *l = json_read(a, cases[i].limits, strlen(cases[i].limits), &e);
        json_t *o = json_read(a, cases[i].origins, strlen(cases[i].origins), &e);
        int result = registry_check_settings(f, l, o, &e);
        if (result != (cases[i].pointer == NULL ? 0 : -1) || strcmp(e.pointer, cases[i].pointer != NULL ? cases[i].pointer : "") != 0) {
            fail_msg("%s %s %s: %s %s", cases[i].features, cases[i].limits, cases[i].origins, e.pointer, e.msg);
        }
    }
    struct err e = {0};
    assert_int_equal(registry_check_settings(NULL, NULL, NULL, &e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_keys),      cmocka_unit_test(ec_refusals),        cmocka_unit_test(rsa_refusals),
        cmocka_unit_test(other_refusals), cmocka_unit_test(secrets_are_sealed), cmocka_unit_test(master_keys),
        cmocka_unit_test(settings),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
