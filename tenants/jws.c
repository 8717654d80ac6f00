#include "tenants/jws.h"

#include "core/crypto.h"
#include "tenants/tokens.h"

#define TIME_MAX INT64_C(253402300799) /* the end of the year 9999 */

static int refuse(struct err *e, const char *why)
{
    return err_set(e, ERR_INVALID_TOKEN, "%s", why);
}

/* ---- three parts ---- */

struct parts {
    const char *at[3];
    size_t len[3];
};

static int split(const char *text, struct parts *p_r, struct err *e)
{
    struct parts p;
    if (strnlen(text, TOKEN_MAX + 1) > TOKEN_MAX) {
        return refuse(e, "The token is longer than 8192 bytes.");
    }
    const char *next = text;
    for (int i = 0; i < 3; i++) {
        p.at[i] = next;
        p.len[i] = strcspn(next, ".");
        next += p.len[i];
        if (p.len[i] == 0 || (*next == '.') != (i < 2)) {
            return refuse(e, "It is not a token of three base64url parts.");
        }
        next++;
    }
    *p_r = p;
    return 0;
}

static json_t *object_of(struct arena *a, const struct parts *p, int i, struct err *e)
{
    uint8_t *text;
    size_t len;
    struct err why;
    if (crypto_base64url_read(a, p->at[i], p->len[i], &text, &len) < 0) {
        refuse(e, "The token is not canonical base64url.");
        return NULL;
    }
    json_t *v = json_read(a, (const char *)text, len, &why);
    if (!json_is_object(v)) {
        refuse(e, i == 0 ? "The token's header is not a JSON object." : "The token's claims are not a JSON object.");
        return NULL;
    }
    return v;
}

/* ---- header ---- */

bool jws_is_kid(const char *s)
{
    size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return s[len] == '\0' && len >= JWS_KID_MIN && len <= JWS_KID_MAX;
}

static int read_header(struct arena *a, const json_t *h, struct jws *j, struct err *e)
{
    static const char *const algs[] = {"HS256", "ES256", "RS256"};
    /* What would change how the token is read, or bring a key along. */
    static const char *const forbidden[] = {"crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c"};
    const json_t *typ = json_object_get(h, "typ");
    const char *alg = json_str(h, "alg", ""), *kid = json_str(h, "kid", "");
    for (size_t i = 0; i < sizeof(algs) / sizeof(*algs); i++) {
        j->alg = strcmp(alg, algs[i]) == 0 ? algs[i] : j->alg;
    }
    if (j->alg == NULL) {
        return refuse(e, "The token's alg must be HS256, ES256 or RS256.");
    }
    if (typ != NULL && (!json_is_string(typ) || strcasecmp(json_string_value(typ), "JWT") != 0)) {
        return refuse(e, "The token's typ must be JWT.");
    }
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
        if (json_object_get(h, forbidden[i]) != NULL) {
            return err_set(e, ERR_INVALID_TOKEN, "The token's header must not have %s.", forbidden[i]);
        }
    }
    if (!jws_is_kid(kid)) {
        return refuse(e, "The token's header needs the kid of a signing key.");
    }
    j->kid = arena_strdup(a, kid);
    return 0;
}

/* ---- claims ---- */

/* 0, or -1: present and not an integer in [0, TIME_MAX], or absent and required. */
static int read_time(const json_t *claims, const char *name, bool required, int64_t *s_r)
{
    const json_t *v = json_object_get(claims, name);
    if (v == NULL) {
        return required ? -1 : 0;
    }
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > TIME_MAX) {
        return -1;
    }
    *s_r = json_integer_value(v);
    return 0;
}

static int read_times(const json_t *claims, struct jws *j, struct err *e)
{
    const json_t *exact = json_object_get(claims, "iat_ms");
    if (read_time(claims, "exp", true, &j->exp) < 0 || read_time(claims, "iat", true, &j->iat) < 0) {
        return refuse(e, "The token needs exp and iat as integers (seconds).");
    }
    if (read_time(claims, "nbf", false, &j->nbf) < 0) {
        return refuse(e, "The token's nbf must be an integer (seconds).");
    }
    if (j->exp <= j->iat || j->exp - j->iat > TOKEN_TTL_MAX_SECONDS + TOKEN_LEEWAY_SECONDS) {
        return refuse(e, "The token's exp must lie after iat, by at most 24 hours.");
    }
    if (exact != NULL && (!json_is_integer(exact) || json_integer_value(exact) / 1000 != j->iat)) {
        return refuse(e, "The token's iat_ms contradicts its iat.");
    }
    j->issued_ms = exact != NULL ? json_integer_value(exact) : j->iat * 1000;
    return 0;
}

static bool is_printable(const char *s, size_t max)
{
    size_t len = strlen(s);
    for (size_t i = 0; i < len; i++) {
        if (s[i] < 0x20 || s[i] > 0x7e) {
            return false;
        }
    }
    return len >= 1 && len <= max;
}

/* Tokens of other kinds, or of another tenant by a claim of their own, are not taken for user tokens because their signature holds. */
static int check_kind(const json_t *claims, struct err *e)
{
    static const char *const kinds[] = {"kind", "use", "token_use"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        const json_t *v = json_object_get(claims, kinds[i]);
        if (v != NULL && (!json_is_string(v) || strcmp(json_string_value(v), "access") != 0)) {
            return refuse(e, "The token is not an access token.");
        }
    }
    const json_t *tenant = json_object_get(claims, "tenant"), *aud = json_object_get(claims, "aud");
    return tenant == NULL || json_equal(tenant, aud) ? 0 : refuse(e, "The token's tenant contradicts its aud.");
}

static int read_claims(struct arena *a, const json_t *claims, struct jws *j, struct err *e)
{
    const json_t *device = json_object_get(claims, "device"), *scope = json_object_get(claims, "scope");
    const char *issuer = json_str(claims, "iss", NULL), *jti = json_str(claims, "jti", "");
    if (app_id_parse(json_str(claims, "aud", ""), &j->app) < 0) {
        return refuse(e, "The token's aud must be the id of the app, a single string.");
    }
    if (user_id_parse(json_str(claims, "sub", ""), &j->user) < 0) {
        return refuse(e, "The token's sub must be a user id.");
    }
    if (issuer == NULL) {
        return refuse(e, "The token needs iss.");
    }
    if (!is_printable(jti, JWS_JTI_MAX)) {
        return refuse(e, "The token needs a jti of 1 to 128 printable characters.");
    }
    if (device != NULL && (!json_is_string(device) || device_id_parse(json_string_value(device), &j->device) < 0)) {
        return refuse(e, "The token's device must be a device id.");
    }
    if (scope != NULL && (!json_is_string(scope) || json_string_length(scope) > JWS_SCOPE_MAX)) {
        return refuse(e, "The token's scope must be a string.");
    }
    j->issuer = arena_strdup(a, issuer);
    j->jti = arena_strdup(a, jti);
    return read_times(claims, j, e) < 0 ? -1 : check_kind(claims, e);
}

int jws_parse(struct arena *a, const char *text, struct jws *j_r, struct err *e)
{
    struct jws j = {.text = text};
    struct parts p;
    uint8_t *signature;
    if (split(text, &p, e) < 0) {
        return -1;
    }
    const json_t *header = object_of(a, &p, 0, e);
    if (header == NULL || read_header(a, header, &j, e) < 0) {
        return -1;
    }
    const json_t *claims = object_of(a, &p, 1, e);
    if (claims == NULL || read_claims(a, claims, &j, e) < 0) {
        return -1;
    }
    if (crypto_base64url_read(a, p.at[2], p.len[2], &signature, &j.signature_len) < 0) {
        return refuse(e, "The token is not canonical base64url.");
    }
    j.signature = signature;
    *j_r = j;
    return 0;
}

json_t *jws_claims(struct arena *a, const char *text)
{
    struct parts p;
    struct err e;
    return split(text, &p, &e) < 0 ? NULL : object_of(a, &p, 1, &e);
}
