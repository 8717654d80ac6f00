#include "tenants/tokens.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "storage/signing.h"
#include "tenants/cache.h"
#include "tenants/jws.h"
#include "tenants/registry.h"
#include "tenants/signing_keys.h"

#define KEY_FRESH_MS 5000
#define NO_KEY_FRESH_MS 1000
#define VERDICT_FRESH_MS 1000

static const char *issuer = "parley";

CACHE_DEFINE(signatures, 512); /* by text and key: the signature holds; at_ms is exp */
CACHE_DEFINE(keys, 512);       /* by app and kid */
CACHE_DEFINE(no_keys, 64);     /* by app and kid: none; apart from keys, so that made-up kids do not push real keys out */
CACHE_DEFINE(verdicts, 512);   /* by app, user and jti */

void tokens_start(const struct config *c)
{
    issuer = c->issuer;
}

const char *tokens_issuer(void)
{
    return issuer;
}

/* ---- what is kept ---- */

struct known_key {
    struct cache_value value;
    struct jws_key key;
};

static void free_key(void *p)
{
    struct known_key *k = p;
    jws_key_clear(&k->key);
    free(k);
}

struct verdict {
    struct cache_value value;
    struct user user; /* its strings are its own; metadata is kept as text: JSON values are not shared between threads */
    char *metadata;
    bool exists, jti_revoked;
};

static void free_verdict(void *p)
{
    struct verdict *v = p;
    free((void *)v->user.name);
    free((void *)v->user.role);
    free((void *)v->user.avatar_url);
    free((void *)v->user.language);
    free(v->metadata);
    free(v);
}

/* A fact without content: being there is what it says. */
static void keep_forever(void *p)
{
    (void)p;
}
static struct cache_value mark = {.refs = 1, .free = keep_forever};

/* ---- one verification ---- */

struct check {
    struct arena *a;
    const struct jws *jws;
    const struct tenant *tenant;
    uint8_t signature_key[CACHE_KEY_LEN]; /* in signatures */
    bool verified;                        /* found there */
};

/* Storage is away and something older stands in: only for a token that was verified before. */
static int stand_in(const struct check *c, const struct err *away, struct err *e)
{
    if (away->code != ERR_OK && !c->verified) {
        *e = *away;
        return -1;
    }
    return 0;
}

static int load_key(void *ctx, struct cache_value **value_r, struct err *e)
{
    const struct check *c = ctx;
    struct signing_key row;
    uint8_t *secret = NULL;
    const void *bytes;
    size_t len = 0;
    int found = signing_get(c->tenant, c->a, c->jws->kid, &row, e);
    if (found != 1 || row.revoked_ms != 0) {
        return found == 1 ? 0 : found;
    }
    if (row.public_pem != NULL) {
        bytes = row.public_pem;
        len = strlen(row.public_pem);
    } else if (signing_keys_open(c->a, tenant_app(c->tenant), &row, &secret, &len, e) < 0) {
        return -1;
    } else {
        bytes = secret;
    }
    struct known_key *k = cache_value_new(sizeof(*k), free_key);
    int result = jws_key_init(&k->key, row.alg, row.issuer, bytes, len, e);
    if (secret != NULL) {
        crypto_wipe(secret, len);
    }
    if (result < 0) {
        log_error("signing_key_unusable", "signing key %s cannot be used: %s", row.kid, e->msg);
        cache_release(k);
        return -1;
    }
    *value_r = &k->value;
    return 1;
}

static bool known_absent(const uint8_t key[CACHE_KEY_LEN])
{
    int64_t at_ms;
    void *absent = cache_find(&no_keys, key, &at_ms);
    cache_release(absent);
    return absent != NULL && clock_mono_ms() - at_ms < NO_KEY_FRESH_MS;
}

static void look_signature_up(struct check *c, const struct jws_key *k)
{
    uint8_t both[2 * SHA256_LEN];
    int64_t exp_ms;
    crypto_sha256(c->jws->text, strlen(c->jws->text), both);
    memcpy(both + SHA256_LEN, k->digest, SHA256_LEN);
    crypto_sha256(both, sizeof(both), c->signature_key);
    void *known = cache_find(&signatures, c->signature_key, &exp_ms);
    c->verified = known != NULL;
    cache_release(known);
}

static int find_key(void *ctx, const struct jws *j, const struct jws_key **k_r, bool *verified_r, struct err *e)
{
    struct check *c = ctx;
    struct cache_want want = {.app = j->app, .fresh_ms = KEY_FRESH_MS, .load = load_key, .ctx = c};
    struct cache_value *value;
    struct err away;
    c->jws = j;
    int found = registry_find(c->a, &j->app, &c->tenant, e);
    if (found != 1) {
        return found == 0 ? err_set(e, ERR_INVALID_TOKEN, JWS_REFUSED) : -1;
    }
    cache_key(want.key, &j->app, j->kid, NULL);
    if (known_absent(want.key)) {
        return 0;
    }
    uint64_t stamp = cache_stamp(&no_keys);
    found = cache_get(&keys, c->a, &want, &value, &away, e);
    if (found != 1) {
        if (found == 0) {
            cache_put(&no_keys, want.key, &j->app, &mark, clock_mono_ms(), stamp);
        }
        return found;
    }
    const struct jws_key *k = &((const struct known_key *)(const void *)value)->key;
    look_signature_up(c, k);
    *k_r = k;
    *verified_r = c->verified;
    return stand_in(c, &away, e) < 0 ? -1 : 1;
}

/* ---- the user ---- */

static char *keep_text(const char *s)
{
    char *copy = s != NULL ? strdup(s) : NULL;
    if (s != NULL && copy == NULL) {
        fputs("out of memory: verdict\n", stderr);
        abort();
    }
    return copy;
}

static int load_verdict(void *ctx, struct cache_value **value_r, struct err *e)
{
    const struct check *c = ctx;
    struct user u;
    int revoked = signing_token_revoked(c->tenant, c->a, c->jws->jti, e);
    int found = revoked < 0 ? -1 : users_get(c->tenant, c->a, &c->jws->user, &u, e);
    if (found < 0) {
        return -1;
    }
    struct verdict *v = cache_value_new(sizeof(*v), free_verdict);
    v->jti_revoked = revoked == 1;
    v->user.id = c->jws->user;
    v->exists = found == 1;
    if (v->exists) {
        v->user = u;
        v->user.name = keep_text(u.name);
        v->user.role = keep_text(u.role);
        v->user.avatar_url = keep_text(u.avatar_url);
        v->user.language = keep_text(u.language);
        v->user.metadata = NULL;
        v->metadata = u.metadata != NULL ? keep_text(json_write(c->a, u.metadata, NULL)) : NULL;
    }
    *value_r = &v->value;
    return 1;
}

static int hand_out(struct arena *a, const struct verdict *v, struct user *user_r, struct err *e)
{
    struct user u = v->user;
    u.name = u.name != NULL ? arena_strdup(a, u.name) : NULL;
    u.role = u.role != NULL ? arena_strdup(a, u.role) : NULL;
    u.avatar_url = u.avatar_url != NULL ? arena_strdup(a, u.avatar_url) : NULL;
    u.language = u.language != NULL ? arena_strdup(a, u.language) : NULL;
    if (v->metadata != NULL && (u.metadata = json_read(a, v->metadata, strlen(v->metadata), e)) == NULL) {
        return -1;
    }
    *user_r = u;
    return 0;
}

static int revoked(struct err *e)
{
    return err_set(e, ERR_TOKEN_REVOKED, "The token has been revoked; get a new one from your server.");
}

static int judge(const struct check *c, const struct verdict *v, struct err *e)
{
    const struct jws *j = c->jws;
    if ((v->exists && j->issued_ms < v->user.tokens_valid_after_ms) || v->jti_revoked) {
        return revoked(e);
    }
    if (!v->exists) {
        return err_set(e, ERR_INVALID_TOKEN, "The token names an unknown user; make the user with PUT /v1/users/{user_id}.");
    }
    return v->user.deactivated_ms != 0 ? err_set(e, ERR_USER_BANNED, "The user is deactivated.") : 0;
}

static int check_user(struct check *c, struct user *user_r, struct err *e)
{
    const struct jws *j = c->jws;
    if (j->issued_ms < tenant_tokens_valid_after_ms(c->tenant)) {
        return revoked(e); /* without a look at the user: all sockets of an app are judged at once */
    }
    struct cache_want want = {.app = j->app, .fresh_ms = VERDICT_FRESH_MS, .load = load_verdict, .ctx = c};
    struct cache_value *value;
    struct err away;
    cache_key(want.key, &j->app, j->user.s, j->jti);
    if (cache_get(&verdicts, c->a, &want, &value, &away, e) != 1 || stand_in(c, &away, e) < 0) {
        return -1;
    }
    const struct verdict *v = (const void *)value;
    if (judge(c, v, e) < 0) {
        return -1;
    }
    return user_r != NULL ? hand_out(c->a, v, user_r, e) : 0;
}

int tokens_verify(struct arena *a, const char *text, struct token *token_r, struct user *user_r, struct err *e)
{
    struct check c = {.a = a};
    struct jws j;
    if (text == NULL || text[0] == '\0') {
        return err_set(e, ERR_MISSING_CREDENTIALS, "A user token is needed.");
    }
    if (jws_check(a, text, clock_wall_ms(), find_key, &c, &j, e) < 0) {
        return -1;
    }
    c.jws = &j;
    if (!c.verified) {
        cache_put(&signatures, c.signature_key, &j.app, &mark, j.exp * 1000, cache_stamp(&signatures));
    }
    if (!tenant_active(c.tenant)) {
        return registry_inactive(c.tenant, e);
    }
    if (check_user(&c, user_r, e) < 0) {
        return -1;
    }
    struct token t = {.tenant = c.tenant, .user = j.user, .device = j.device, .exp_ms = j.exp * 1000, .iat_ms = j.issued_ms};
    snprintf(t.jti, sizeof(t.jti), "%s", j.jti);
    snprintf(t.kid, sizeof(t.kid), "%s", j.kid);
    *token_r = t;
    return 0;
}

json_t *tokens_claims(struct arena *a, const char *text)
{
    return text != NULL ? jws_claims(a, text) : NULL;
}

static bool is_of_user(const void *value, const void *user)
{
    const struct verdict *v = value;
    return user_id_equal(&v->user.id, user);
}

void tokens_invalidate(const struct app_id *app, const struct user_id *user)
{
    if (user == NULL) {
        cache_drop(&keys, app, NULL, NULL);
        cache_drop(&no_keys, app, NULL, NULL);
    }
    cache_drop(&verdicts, app, user != NULL ? is_of_user : NULL, user);
}

/* ---- minting ---- */

static int newest_secret(const struct tenant *t, struct arena *a, struct signing_key *k_r, struct err *e)
{
    struct signing_key *list;
    int count;
    if (signing_list(t, a, &list, &count, e) < 0) {
        return -1;
    }
    for (int i = 0; i < count; i++) {
        if (list[i].revoked_ms == 0 && strcmp(list[i].alg, "HS256") == 0) {
            *k_r = list[i];
            return 0;
        }
    }
    return err_set(e, ERR_NOT_FOUND, "The app has no active HS256 signing key; make one with POST /v1/signing-keys.");
}

static int check_wish(uint32_t ttl_seconds, const char *device, struct err *e)
{
    struct device_id id;
    if (ttl_seconds > TOKEN_TTL_MAX_SECONDS) {
        return err_at(e, ERR_VALIDATION_FAILED, "/ttl_seconds", "A token lives for at most %d seconds.", TOKEN_TTL_MAX_SECONDS);
    }
    if (device != NULL && device[0] != '\0' && device_id_parse(device, &id) < 0) {
        return err_at(e, ERR_VALIDATION_FAILED, "/device_id", "It must be 1 to %d of A-Z a-z 0-9 . _ -.", DEVICE_ID_MAX);
    }
    return 0;
}

static uint32_t life(const struct tenant *t, uint32_t ttl_seconds)
{
    uint32_t ttl = ttl_seconds != 0 ? ttl_seconds : tenant_token_ttl_seconds(t);
    return ttl <= TOKEN_TTL_MAX_SECONDS ? ttl : TOKEN_TTL_MAX_SECONDS;
}

int tokens_mint(const struct tenant *t, struct arena *a, const struct user_id *user, uint32_t ttl_seconds, const char *device,
                char **text_r, int64_t *exp_ms_r, struct err *e)
{
    struct signing_key k;
    uint8_t jti[16], *secret;
    size_t len;
    char app[ID_TEXT_MAX];
    if (check_wish(ttl_seconds, device, e) < 0 || newest_secret(t, a, &k, e) < 0 ||
        signing_keys_open(a, tenant_app(t), &k, &secret, &len, e) < 0) {
        return -1;
    }
    int64_t now_ms = clock_wall_ms(), exp = now_ms / 1000 + life(t, ttl_seconds);
    crypto_random(jti, sizeof(jti));
    json_t *claims =
        json_own(a, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:s*}", "iss", k.issuer, "aud", app_id_print(tenant_app(t), app), "sub",
                              user->s, "exp", (json_int_t)exp, "iat", (json_int_t)(now_ms / 1000), "iat_ms", (json_int_t)now_ms, "jti",
                              crypto_base64url(a, jti, sizeof(jti)), "device", device != NULL && device[0] != '\0' ? device : NULL));
    char *text = jws_sign(a, k.kid, secret, len, claims, e);
    crypto_wipe(secret, len);
    if (text == NULL) {
        return -1;
    }
    *text_r = text;
    *exp_ms_r = exp * 1000;
    return 0;
}
