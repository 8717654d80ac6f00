/* From a token to its user, over a storage that this test plays: order of the checks, what is kept for how long, what holds while storage is away. */
#include "tests/unit/unit.h"

#define signing_get played_signing_get
#define signing_list played_signing_list
#define signing_token_revoked played_signing_token_revoked
#define users_get played_users_get
#define registry_find played_registry_find
#define registry_inactive played_registry_inactive
/* The program's own copy is linked too. */
#define tokens_start flow_tokens_start
#define tokens_issuer flow_tokens_issuer
#define tokens_verify flow_tokens_verify
#define tokens_claims flow_tokens_claims
#define tokens_mint flow_tokens_mint
#define tokens_invalidate flow_tokens_invalidate
#include "tenants/tokens.c"
#undef registry_inactive

#include "core/tenant-private.h"
#include "tests/unit/token_forge.h"

#define APP "app_01h455vb4pex5vsknk084sn02q"
#define ISSUED INT64_C(1800000000000)

/* ---- the stage ---- */

static struct {
    int64_t wall, mono;
    struct tenant *tenant;
    struct signing_key key;
    struct user user;
    bool away, no_key, no_user, jti_revoked;
    atomic_int key_reads, user_reads;
} stage;
static struct arena *a;

static int64_t wall(void)
{
    return stage.wall;
}

static int64_t mono(void)
{
    return stage.mono;
}

static void later(int64_t ms)
{
    stage.wall += ms;
    stage.mono += ms;
}

static int gone(struct err *e)
{
    return err_set(e, ERR_STORAGE_UNAVAILABLE, "away");
}

int played_registry_find(struct arena *arena, const struct app_id *app, const struct tenant **t_r, struct err *e)
{
    (void)arena;
    (void)e;
    if (!app_id_equal(app, &stage.tenant->app)) {
        return 0;
    }
    *t_r = stage.tenant;
    return 1;
}

int played_registry_inactive(const struct tenant *t, struct err *e)
{
    (void)t;
    return err_set(e, ERR_APP_SUSPENDED, "suspended");
}

int played_signing_get(const struct tenant *t, struct arena *arena, const char *kid, struct signing_key *k_r, struct err *e)
{
    (void)t;
    (void)arena;
    stage.key_reads++;
    if (stage.away) {
        return gone(e);
    }
    if (stage.no_key || strcmp(kid, stage.key.kid) != 0) {
        return 0;
    }
    *k_r = stage.key;
    return 1;
}

int played_signing_list(const struct tenant *t, struct arena *arena, struct signing_key **k_r, int *count_r, struct err *e)
{
    (void)t;
    if (stage.away) {
        return gone(e);
    }
    *k_r = arena_array(arena, 2, sizeof(**k_r));
    (*k_r)[0] = (struct signing_key){.kid = "newest-but-revoked", .alg = "HS256", .issuer = "parley", .revoked_ms = 1};
    (*k_r)[1] = stage.key;
    *count_r = stage.no_key ? 1 : 2;
    return 0;
}

int played_signing_token_revoked(const struct tenant *t, struct arena *arena, const char *jti, struct err *e)
{
    (void)t;
    (void)arena;
    (void)jti;
    return stage.away ? gone(e) : stage.jti_revoked;
}

int played_users_get(const struct tenant *t, struct arena *arena, const struct user_id *id, struct user *user_r, struct err *e)
{
    (void)t;
    (void)arena;
    stage.user_reads++;
    if (stage.away) {
        return gone(e);
    }
    if (stage.no_user || !user_id_equal(id, &stage.user.id)) {
        return 0;
    }
    *user_r = stage.user;
    return 1;
}

static int setup(void **state)
{
    (void)state;
    struct app_id app;
    struct err e = {0};
    const char *shown;
    a = arena_new("test");
    memset(&stage, 0, sizeof(stage));
    stage.wall = ISSUED + 500;
    stage.mono = 1000000;
    clock_replace(wall, mono);
    assert_int_equal(app_id_parse(APP, &app), 0);
    stage.tenant = tenant_new(&app);
    assert_int_equal(registry_start(&(struct config){.master_key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"}, &e),
                     0);
    flow_tokens_start(&(struct config){.issuer = "parley"});
    signing_keys_new_hs256(a, &app, &stage.key, &shown);
    assert_int_equal(user_id_parse("alice", &stage.user.id), 0);
    stage.user.name = "Alice";
    stage.user.role = "user";
    stage.user.metadata = json_own(a, json_pack("{s:i}", "level", 3));
    flow_tokens_invalidate(&app, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tenant_unref(stage.tenant);
    arena_free(&a);
    clock_replace(NULL, NULL);
    return 0;
}

static char *mint(void)
{
    char *text;
    int64_t exp_ms;
    struct user_id alice = {"alice"};
    struct err e = {0};
    assert_int_equal(flow_tokens_mint(stage.tenant, a, &alice, 3600, "phone", &text, &exp_ms, &e), 0);
    assert_true(exp_ms == stage.wall / 1000 * 1000 + 3600000);
    return text;
}

static void expect(const char *text, enum err_code code)
{
    struct arena *own = arena_new("request");
    struct token t = {.tenant = NULL};
    struct err e = {0};
    int result = flow_tokens_verify(own, text, &t, NULL, &e);
    if ((result == 0) != (code == ERR_OK) || e.code != code) {
        fail_msg("%s (%s) instead of %s", err_name(e.code), e.msg, err_name(code));
    }
    assert_true((t.tenant != NULL) == (result == 0));
    arena_free(&own);
}

/* ---- tests ---- */

static void minted_tokens_verify(void **state)
{
    (void)state;
    struct token t;
    struct user u;
    struct err e = {0};
    char *text = mint();
    for (int i = 0; i < 2; i++) { /* from storage, then from memory */
        assert_int_equal(flow_tokens_verify(a, text, &t, &u, &e), 0);
        assert_int_equal(e.code, ERR_OK);
        assert_string_equal(t.user.s, "alice");
        assert_string_equal(t.device.s, "phone");
        assert_string_equal(t.kid, stage.key.kid);
        assert_int_equal(strlen(t.jti), 22);
        assert_true(t.iat_ms == ISSUED + 500 && t.exp_ms == ISSUED + 3600000);
        assert_string_equal(u.name, "Alice");
        assert_string_equal(u.role, "user");
        assert_null(u.avatar_url);
        assert_int_equal(json_int(u.metadata, "level", 0), 3);
    }
    assert_int_equal(stage.user_reads, 1);
    assert_int_equal(stage.key_reads, 1);
}

static void minting_has_bounds(void **state)
{
    (void)state;
    char *text;
    int64_t exp_ms;
    struct user_id alice = {"alice"};
    struct err e = {0};
    assert_int_equal(flow_tokens_mint(stage.tenant, a, &alice, 86401, NULL, &text, &exp_ms, &e), -1);
    assert_string_equal(e.pointer, "/ttl_seconds");
    assert_int_equal(flow_tokens_mint(stage.tenant, a, &alice, 60, "a phone", &text, &exp_ms, &e), -1);
    assert_string_equal(e.pointer, "/device_id");
    assert_int_equal(flow_tokens_mint(stage.tenant, a, &alice, 86400, "", &text, &exp_ms, &e), 0);
    expect(text, ERR_OK);
    assert_int_equal(flow_tokens_mint(stage.tenant, a, &alice, 0, NULL, &text, &exp_ms, &e), 0);
    assert_true(exp_ms == ISSUED + 3600000);
    stage.no_key = true;
    assert_int_equal(flow_tokens_mint(stage.tenant, a, &alice, 60, NULL, &text, &exp_ms, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void users(void **state)
{
    (void)state;
    char *text = mint();
    stage.no_user = true;
    expect(text, ERR_INVALID_TOKEN);
    stage.no_user = false;
    flow_tokens_invalidate(&stage.tenant->app, &stage.user.id);
    expect(text, ERR_OK);
    stage.user.deactivated_ms = 1;
    expect(text, ERR_OK); /* for a second */
    later(1000);
    expect(text, ERR_USER_BANNED);
    stage.user.deactivated_ms = 0;
    later(1000);
    expect(text, ERR_OK);
}

static void revocations(void **state)
{
    (void)state;
    const struct app_id *app = &stage.tenant->app;
    char *text = mint();
    expect(text, ERR_OK);
    stage.jti_revoked = true;
    flow_tokens_invalidate(app, &stage.user.id);
    expect(text, ERR_TOKEN_REVOKED);
    stage.jti_revoked = false;
    flow_tokens_invalidate(app, &stage.user.id);
    expect(text, ERR_OK);

    stage.user.tokens_valid_after_ms = stage.wall + 1;
    flow_tokens_invalidate(app, &stage.user.id);
    expect(text, ERR_TOKEN_REVOKED);
    later(1); /* the same second, after the revocation */
    expect(mint(), ERR_OK);
    expect(text, ERR_TOKEN_REVOKED);

    stage.tenant->tokens_valid_after_ms = stage.wall + 1;
    expect(mint(), ERR_TOKEN_REVOKED);
    later(1);
    expect(mint(), ERR_OK);
}

static void only_the_named_user_is_forgotten(void **state)
{
    (void)state;
    char *text = mint();
    struct user_id bob = {"bob"};
    struct app_id other = app_id_new(), every = {{0}};
    expect(text, ERR_OK);
    flow_tokens_invalidate(&stage.tenant->app, &bob);
    flow_tokens_invalidate(&other, NULL);
    expect(text, ERR_OK);
    assert_int_equal(stage.user_reads, 1);
    flow_tokens_invalidate(&every, NULL);
    expect(text, ERR_OK);
    assert_int_equal(stage.user_reads, 2);
    assert_int_equal(stage.key_reads, 2);
}

static void suspended_apps_show_only_to_the_signed(void **state)
{
    (void)state;
    char *text = mint(), *forged = arena_strdup(a, text);
    forged[strlen(forged) - 10] ^= 1;
    stage.tenant->status = TENANT_SUSPENDED;
    expect(text, ERR_APP_SUSPENDED);
    expect(forged, ERR_INVALID_TOKEN);
    stage.tenant->status = TENANT_DELETED;
    expect(text, ERR_APP_SUSPENDED);
    later(4000000);
    expect(text, ERR_TOKEN_EXPIRED);
}

static void keys_come_and_go(void **state)
{
    (void)state;
    char *text = mint();
    stage.no_key = true;
    expect(text, ERR_UNKNOWN_KID);
    expect(text, ERR_UNKNOWN_KID);
    assert_int_equal(stage.key_reads, 1);
    stage.no_key = false;
    later(1000);
    expect(text, ERR_OK);
    stage.key.revoked_ms = 1;
    expect(text, ERR_OK);
    later(5000);
    expect(text, ERR_UNKNOWN_KID);
    stage.key.revoked_ms = 0;
    flow_tokens_invalidate(&stage.tenant->app, NULL);
    expect(text, ERR_OK);
    stage.key.revoked_ms = 1;
    flow_tokens_invalidate(&stage.tenant->app, NULL);
    expect(text, ERR_UNKNOWN_KID);
}

static void while_storage_is_away(void **state)
{
    (void)state;
    char *text = mint(), *unseen = mint();
    expect(text, ERR_OK);
    stage.away = true;
    expect(unseen, ERR_STORAGE_UNAVAILABLE); /* its key is known, its user's state is not */
    later(60000);
    for (int i = 0; i < 20; i++) {
        expect(text, ERR_OK);
        expect(unseen, ERR_STORAGE_UNAVAILABLE);
        later(100);
    }
    assert_true(stage.key_reads < 8); /* not once a token */
    later(3600000);
    expect(text, ERR_TOKEN_EXPIRED);
    stage.away = false;
    later(1000); /* as often is a storage that was away asked again */
    expect(mint(), ERR_OK);
}

static void nothing_dropped_comes_back_while_storage_is_away(void **state)
{
    (void)state;
    char *text = mint();
    expect(text, ERR_OK);
    stage.away = true;
    expect(text, ERR_OK);
    flow_tokens_invalidate(&stage.tenant->app, &stage.user.id);
    expect(text, ERR_STORAGE_UNAVAILABLE);
}

static void other_apps_are_unknown(void **state)
{
    (void)state;
    uint8_t *secret;
    size_t len;
    struct err e = {0};
    assert_int_equal(signing_keys_open(a, &stage.tenant->app, &stage.key, &secret, &len, &e), 0);
    expect(forge_hs256(a, arena_printf(a, "{\"alg\":\"HS256\",\"kid\":\"%s\"}", stage.key.kid),
                       "{\"iss\":\"parley\",\"aud\":\"app_01h455vb4pex5vsknk084sn02s\",\"sub\":\"alice\",\"exp\":1800003600,\"iat\":"
                       "1800000000,\"jti\":\"1\"}",
                       secret, len),
           ERR_INVALID_TOKEN);
    assert_int_equal(stage.key_reads, 0);
}

/* More texts than there is room for: old ones give way, nothing goes wrong. */
static void many_tokens(void **state)
{
    (void)state;
    for (int i = 0; i < 6000; i++) {
        struct arena *own = arena_new("one");
        struct err e = {0};
        struct user_id alice = {"alice"};
        char *text;
        int64_t exp_ms;
        struct token t;
        assert_int_equal(flow_tokens_mint(stage.tenant, own, &alice, 60, NULL, &text, &exp_ms, &e), 0);
        assert_int_equal(flow_tokens_verify(own, text, &t, NULL, &e), 0);
        later(i % 100 == 0);
        arena_free(&own);
    }
}

static void *verify_and_forget(void *text)
{
    for (int i = 0; i < 500; i++) {
        struct arena *own = arena_new("thread");
        struct token t;
        struct user u;
        struct err e = {0};
        if (flow_tokens_verify(own, text, &t, &u, &e) < 0) {
            return own;
        }
        if (i % 50 == 0) {
            flow_tokens_invalidate(&t.tenant->app, i % 100 == 0 ? &t.user : NULL);
        }
        arena_free(&own);
    }
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    pthread_t id[4];
    char *text = mint();
    for (size_t i = 0; i < COUNT(id); i++) {
        assert_int_equal(pthread_create(&id[i], NULL, verify_and_forget, text), 0);
    }
    for (size_t i = 0; i < COUNT(id); i++) {
        void *failed;
        pthread_join(id[i], &failed);
        assert_null(failed);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(minted_tokens_verify),
        T(minting_has_bounds),
        T(users),
        T(revocations),
        T(only_the_named_user_is_forgotten),
        T(suspended_apps_show_only_to_the_signed),
        T(keys_come_and_go),
        T(while_storage_is_away),
        T(nothing_dropped_comes_back_while_storage_is_away),
        T(other_apps_are_unknown),
        T(many_tokens),
        T(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
