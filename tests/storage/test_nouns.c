/* Apps, keys, signing keys, users, groups, roles, marks, devices, leases against a real Postgres. */
#include "storage_test.h"

#include "storage/apikeys.h"
#include "storage/leases.h"
#include "storage/marks.h"
#include "storage/signing.h"

static void test_apps(void **state)
{
    (void)state;
    const struct platform *p = platform_get();
    struct tenant *t = make_app("Wolpertinger 100%");
    struct app app, own;
    assert_int_equal(apps_find(p, arena, tenant_app(t), &app, &error), 1);
    assert_string_equal(app.name, "Wolpertinger 100%");
    assert_true(json_is_null(app.origins));
    assert_int_equal(app.id_key_sealed_len, 6);
    assert_true(llabs(app.created_ms - clock_wall_ms()) < 60000);
    assert_int_equal(apps_load(arena, tenant_app(t), &own, &error), 1);
    assert_int_equal(own.version, 1);

    struct app_change c = {.name = "renamed",
                           .expected_version = 1,
                           .origins = json_own(arena, json_pack("[s]", "https://a.example")),
                           .features = json_own(arena, json_pack("{s:b}", "typing", 0)),
                           .token_ttl_seconds = 120,
                           .tokens_valid_after_ms = 1700000000123};
    assert_int_equal(apps_update(p, arena, tenant_app(t), &c, &app, &error), 1);
    assert_int_equal(app.version, 2);
    assert_int_equal(app.token_ttl_seconds, 120);
    assert_true(app.tokens_valid_after_ms == 1700000000123);
    assert_string_equal(json_string_value(json_array_get(app.origins, 0)), "https://a.example");
    FAILS(ERR_VERSION_MISMATCH, apps_update(p, arena, tenant_app(t), &c, &app, &error));
    c = (struct app_change){.origins = json_own(arena, json_array()), .tokens_valid_after_ms = 1600000000000};
    assert_int_equal(apps_update_own(t, arena, &c, &app, &error), 1);
    assert_string_equal(app.name, "renamed");
    assert_true(app.tokens_valid_after_ms == 1700000000123); /* never goes back */
    assert_true(json_is_array(app.origins) && json_array_size(app.origins) == 0);
    c = (struct app_change){.origins = json_null(), .status = "deleted"};
    assert_int_equal(apps_update_own(t, arena, &c, &app, &error), 1);
    assert_string_equal(app.status, "active"); /* the app itself does not change its status */
    assert_true(json_is_null(app.origins));
    assert_int_equal(apps_update(p, arena, tenant_app(t), &c, &app, &error), 1);
    assert_true(app.deleted_ms != 0 && json_object_get(app_json(arena, &app), "deleted_at") != NULL);
    c = (struct app_change){.status = "active"};
    assert_int_equal(apps_update(p, arena, tenant_app(t), &c, &app, &error), 1);
    assert_true(app.deleted_ms == 0);
    struct app_id unknown = app_id_new();
    assert_int_equal(apps_update(p, arena, &unknown, &c, &app, &error), 0);
    assert_int_equal(apps_find(p, arena, &unknown, &app, &error), 0);
    assert_int_equal(apps_load(arena, &unknown, &app, &error), 0);
}

static void test_apps_list(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        make_app(i == 2 ? "Zebra list" : "List");
    }
    struct apps_query q = {.q = "list", .limit = 2};
    for (int descending = 0; descending < 2; descending++) {
        int seen = 0, n;
        struct app *apps, last = {.name = NULL};
        q.descending = descending != 0;
        q.after_ms = 0;
        do {
            OK(apps_list(platform_get(), arena, &q, &apps, &n, &error));
            for (int i = 0; i < n; i++) {
                int order = last.name == NULL                       ? 0
                            : last.created_ms != apps[i].created_ms ? (last.created_ms < apps[i].created_ms ? -1 : 1)
                                                                    : memcmp(last.id.b, apps[i].id.b, 16);
                assert_true(last.name == NULL || (descending ? order > 0 : order < 0));
                last = apps[i];
                seen++;
            }
            q.after_ms = last.created_ms;
            q.after_id = last.id;
        } while (n == 2);
        assert_int_equal(seen, 5);
    }
    q = (struct apps_query){.q = "zebra", .status = "active", .limit = 10};
    struct app *apps;
    int n;
    OK(apps_list(platform_get(), arena, &q, &apps, &n, &error));
    assert_int_equal(n, 1);
}

static void test_apikeys(void **state)
{
    (void)state;
    struct tenant *t = make_app("keys");
    char id1[13], id2[13];
    crypto_random_base62(id1, 12);
    crypto_random_base62(id2, 12);
    struct apikey k = {.id = key_id_new(), .name = "k", .mode = "test", .scopes = json_own(arena, json_pack("[s]", "users:read"))}, got;
    struct apikey_secret s = {.public_id = id1, .last4 = "abcd", .sha256 = (const uint8_t *)"abcdefghabcdefghabcdefghabcdefgh"};
    OK(apikeys_create(t, arena, &k, &s, &got, &error));
    assert_string_equal(got.last4, "abcd");
    FAILS(ERR_ALREADY_EXISTS, apikeys_create(t, arena, &k, &s, &got, &error));
    struct apikey_match *m;
    int n;
    OK(apikeys_match(platform_get(), arena, id1, &m, &n, &error));
    assert_int_equal(n, 1);
    assert_true(app_id_equal(&m[0].app, tenant_app(t)) && key_id_equal(&m[0].key.id, &k.id));
    assert_memory_equal(m[0].sha256, s.sha256, 32);
    s = (struct apikey_secret){.public_id = id2, .last4 = "wxyz", .sha256 = (const uint8_t *)"01234567012345670123456701234567"};
    assert_int_equal(apikeys_rotate(t, arena, &k.id, &s, 3600, &got, &error), 1);
    assert_string_equal(got.last4, "wxyz");
    OK(apikeys_match(platform_get(), arena, id1, &m, &n, &error));
    assert_true(m[0].secret_expires_ms > clock_wall_ms() + 3500000 && m[0].secret_expires_ms < clock_wall_ms() + 3700000);
    OK(apikeys_match(platform_get(), arena, id2, &m, &n, &error));
    assert_true(m[0].secret_expires_ms == 0);
    assert_int_equal(apikeys_update(t, arena, &k.id,
                                    &(struct apikey_change){.name = "renamed",
                                                            .cidrs = json_own(arena, json_pack("[s]", "10.0.0.0/8")),
                                                            .set_expiry = true,
                                                            .expires_ms = 1900000000000},
                                    &got, &error),
                     1);
    assert_int_equal(
        apikeys_update(t, arena, &k.id, &(struct apikey_change){.name = "x", .expected_version = got.version + 1}, &got, &error), -1);
    assert_int_equal(error.code, ERR_VERSION_MISMATCH);
    assert_string_equal(got.name, "renamed");
    assert_true(got.expires_ms == 1900000000000 && json_array_size(got.cidrs) == 1);
    assert_int_equal(apikeys_update(t, arena, &k.id, &(struct apikey_change){0}, &got, &error), 1);
    assert_true(got.expires_ms == 1900000000000);
    assert_int_equal(apikeys_update(t, arena, &k.id, &(struct apikey_change){.set_expiry = true}, &got, &error), 1);
    assert_true(got.expires_ms == 0 && json_array_size(got.cidrs) == 1);
    OK(apikeys_touch(t, arena, &k.id, &error));
    assert_int_equal(apikeys_get(t, arena, &k.id, &got, &error), 1);
    assert_true(got.last_used_ms != 0);
    struct apikey *keys;
    OK(apikeys_list(t, arena, 0, NULL, 1, &keys, &n, &error));
    assert_int_equal(n, 1);
    OK(apikeys_list(t, arena, keys[0].created_ms, &keys[0].id, 10, &keys, &n, &error));
    assert_int_equal(n, 1); /* the app's initial key */
    assert_int_equal(apikeys_revoke(t, arena, &k.id, &error), 1);
    assert_int_equal(apikeys_rotate(t, arena, &k.id, &s, 0, &got, &error), 0);
    assert_int_equal(apikeys_get(t, arena, &k.id, &got, &error), 1);
    assert_non_null(json_object_get(apikey_json(arena, &got), "revoked_at"));
    struct key_id unknown = key_id_new();
    assert_int_equal(apikeys_revoke(t, arena, &unknown, &error), 0);
    assert_int_equal(apikeys_get(t, arena, &unknown, &got, &error), 0);
}

static void test_signing(void **state)
{
    (void)state;
    struct tenant *t = make_app("signing");
    struct signing_key k = {.kid = "kid-two2",
                            .alg = "ES256",
                            .issuer = "me",
                            .public_pem = "PEM",
                            .public_jwk = json_own(arena, json_pack("{s:s}", "kty", "EC"))},
                       got, *all;
    int n;
    FAILS(ERR_LAST_SIGNING_KEY, signing_revoke(t, arena, "kid-one1", &error));
    OK(signing_create(t, arena, &k, &got, &error));
    assert_string_equal(json_str(got.public_jwk, "kty", ""), "EC");
    FAILS(ERR_ALREADY_EXISTS, signing_create(t, arena, &k, &got, &error));
    assert_int_equal(signing_revoke(t, arena, "kid-one1", &error), 1);
    assert_int_equal(signing_revoke(t, arena, "kid-one1", &error), 0);
    assert_int_equal(signing_revoke(t, arena, "kid-none", &error), 0);
    FAILS(ERR_LAST_SIGNING_KEY, signing_revoke(t, arena, "kid-two2", &error));
    OK(signing_list(t, arena, &all, &n, &error));
    assert_int_equal(n, 2);
    assert_int_equal(signing_get(t, arena, "kid-one1", &got, &error), 1);
    assert_true(got.revoked_ms != 0 && got.secret_sealed_len == 1 && got.public_pem == NULL);
    assert_int_equal(signing_get(t, arena, "kid-none", &got, &error), 0);
    assert_int_equal(signing_token_revoked(t, arena, "jti", &error), 0);
    OK(signing_revoke_token(t, arena, "jti", clock_wall_ms() + 1000, &error));
    OK(signing_revoke_token(t, arena, "jti", clock_wall_ms() + 2000, &error));
    assert_int_equal(signing_token_revoked(t, arena, "jti", &error), 1);
}

static void test_users(void **state)
{
    (void)state;
    struct tenant *t = make_app("users");
    struct user_change c[3] = {{.id = user("zoe"), .name = "Zoë", .avatar_url = "https://a/z", .language = "de"},
                               {.id = user("adam")},
                               {.id = user("Bea"), .metadata = json_own(arena, json_pack("{s:i}", "x", 1)), .role = "admin"}};
    struct user u[3], got;
    bool made[3];
    OK(users_upsert(t, arena, c, 3, u, made, &error));
    assert_string_equal(u[0].id.s, "zoe");
    assert_string_equal(u[1].role, "user");
    assert_string_equal(u[2].role, "admin");
    assert_true(made[0] && made[1] && made[2]);
    struct user_change again[2] = {{.id = user("new")}, {.id = user("zoe"), .avatar_url = ""}};
    OK(users_upsert(t, arena, again, 2, u, made, &error));
    assert_true(made[0] && !made[1]);
    assert_string_equal(u[1].name, "Zoë"); /* kept */
    assert_string_equal(u[1].language, "de");
    assert_null(u[1].avatar_url);
    assert_int_equal(u[1].version, 2);
    struct user_change one = {.id = user("zoe"), .name = "Z", .expected_version = 2};
    assert_int_equal(users_update(t, arena, &one, &got, &error), 1);
    FAILS(ERR_VERSION_MISMATCH, users_update(t, arena, &one, &got, &error));
    one.id = user("nobody");
    assert_int_equal(users_update(t, arena, &one, &got, &error), 0);
    assert_int_equal(users_get(t, arena, &one.id, &got, &error), 0);
    assert_int_equal(users_get(t, arena, &c[2].id, &got, &error), 1);
    assert_int_equal(json_int(got.metadata, "x", 0), 1);
    assert_int_equal(users_set_active(t, arena, &c[0].id, false, &got, &error), 1);
    assert_string_equal(json_str(user_json(arena, &got), "status", ""), "deactivated");
    int64_t when = got.deactivated_ms;
    assert_int_equal(users_set_active(t, arena, &c[0].id, false, &got, &error), 1);
    assert_true(got.deactivated_ms == when);
    struct users_query q = {.status = "active", .limit = 50};
    struct user *list;
    int n;
    OK(users_list(t, arena, &q, &list, &n, &error));
    assert_int_equal(n, 3);
    q = (struct users_query){.q = "z", .limit = 50};
    OK(users_list(t, arena, &q, &list, &n, &error));
    assert_int_equal(n, 1);
    q = (struct users_query){.descending = true, .limit = 3};
    OK(users_list(t, arena, &q, &list, &n, &error));
    assert_int_equal(n, 3);
    q.after_ms = list[2].created_ms;
    q.after_id = list[2].id.s;
    OK(users_list(t, arena, &q, &list, &n, &error));
    assert_int_equal(n, 1);
    assert_int_equal(users_set_active(t, arena, &c[0].id, true, &got, &error), 1);
    assert_true(got.deactivated_ms == 0);
    assert_int_equal(users_revoke_tokens(t, arena, &c[0].id, 1700000000000, &error), 1);
    assert_int_equal(users_get(t, arena, &c[0].id, &got, &error), 1);
    assert_true(got.tokens_valid_after_ms == 1700000000000);
    OK(users_upsert(t, arena, c, 0, u, made, &error));
}

static void test_groups(void **state)
{
    (void)state;
    struct tenant *t = make_app("groups");
    const char *others[] = {"bob", "carol"};
    make_user(t, "alice");
    make_user(t, "bob");
    make_user(t, "carol");
    struct conv_id id = make_group(t, "alice", 2, others), second = make_group(t, "", 1, others);
    struct conversation c, *list;
    struct member *m, one;
    int n;
    assert_int_equal(groups_get(t, arena, &id, &c, &error), 1);
    assert_int_equal(c.member_count, 3);
    assert_string_equal(c.created_by, "alice");
    assert_true(c.last_seq == 1 && c.members_seq == 1 && c.version == 1);
    assert_non_null(json_object_get(conversation_json(arena, &c), "created_by"));
    OK(groups_members(t, arena, &id, NULL, "", 2, &m, &n, &error));
    assert_int_equal(n, 2);
    assert_string_equal(m[0].user.s, "alice");
    assert_int_equal(m[0].perms, 31);
    OK(groups_members(t, arena, &id, "member", m[1].user.s, 2, &m, &n, &error));
    assert_int_equal(n, 1);
    assert_string_equal(json_str(member_json(arena, &m[0]), "user_id", ""), "carol");
    struct user_id carol = user("carol"), bob = user("bob");
    assert_int_equal(change(t, &id, ENTRY_MEMBER_LEFT, "carol", "{\"user_id\":\"carol\"}"), APPEND_WRITTEN);
    assert_int_equal(groups_member(t, arena, &id, &carol, &one, &error), 1);
    assert_true(one.left_seq == 2 && one.perms == 0);
    struct user_id nobody = user("nobody");
    assert_int_equal(groups_member(t, arena, &id, &nobody, &one, &error), 0);
    struct groups_query q = {.limit = 1};
    OK(groups_list(t, arena, &q, &list, &n, &error));
    assert_true(n == 1 && conv_id_equal(&list[0].id, &second));
    q.after_ms = list[0].created_ms;
    q.after_id = list[0].id;
    OK(groups_list(t, arena, &q, &list, &n, &error));
    assert_true(n == 1 && conv_id_equal(&list[0].id, &id));
    q = (struct groups_query){.member = &carol, .limit = 10};
    OK(groups_list(t, arena, &q, &list, &n, &error));
    assert_int_equal(n, 0);
    q.member = &bob;
    OK(groups_list(t, arena, &q, &list, &n, &error));
    assert_int_equal(n, 2);
    assert_int_equal(change(t, &id, ENTRY_GROUP_DELETED, "alice", "{}"), APPEND_WRITTEN);
    assert_int_equal(groups_get(t, arena, &id, &c, &error), 0);
    OK(groups_list(t, arena, &q, &list, &n, &error));
    assert_int_equal(n, 1);
}

static void test_direct(void **state)
{
    (void)state;
    struct tenant *t = make_app("direct");
    make_user(t, "alice");
    make_user(t, "bob");
    struct user_id alice = user("alice"), bob = user("bob"), nobody = user("nobody");
    struct conversation c, d;
    bool made;
    OK(groups_direct(t, arena, &bob, &alice, &c, &made, &error));
    assert_true(made && conv_id_is_direct(&c.id) && c.member_count == 2 && c.last_seq == 0);
    OK(groups_direct(t, arena, &alice, &bob, &d, &made, &error));
    assert_true(!made && conv_id_equal(&c.id, &d.id));
    OK(groups_direct(t, arena, &alice, &alice, &d, &made, &error));
    assert_true(made && d.member_count == 1);
    FAILS(ERR_NOT_FOUND, groups_direct(t, arena, &alice, &nobody, &d, &made, &error));
    assert_int_equal(say(t, &c.id, "alice", "1"), APPEND_WRITTEN);
    assert_int_equal(change(t, &c.id, ENTRY_MEMBER_LEFT, "alice", "{\"user_id\":\"alice\"}"), APPEND_NOT_FOUND);
    struct user u;
    assert_int_equal(users_set_active(t, arena, &bob, false, &u, &error), 1);
    FAILS(ERR_NOT_FOUND, groups_direct(t, arena, &alice, &bob, &d, &made, &error));
    assert_int_equal(say(t, &c.id, "bob", "1"), APPEND_ROLE);
    assert_int_equal(users_set_active(t, arena, &bob, true, &u, &error), 1);
    assert_int_equal(say(t, &c.id, "bob", "1"), APPEND_WRITTEN);
}

static void test_memberships(void **state)
{
    (void)state;
    struct tenant *t = make_app("memberships");
    const char *bob_too[] = {"bob"};
    struct user_id alice = user("alice"), bob = user("bob");
    struct conversation direct;
    bool made;
    make_user(t, "alice");
    make_user(t, "bob");
    struct conv_id group = make_group(t, "alice", 1, bob_too);
    OK(groups_direct(t, arena, &alice, &bob, &direct, &made, &error));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(say(t, &direct.id, i == 1 ? "bob" : "alice", ""), APPEND_WRITTEN);
    }
    struct memberships_query q = {.user = bob, .with_last = true, .limit = 10};
    struct membership *m;
    int n;
    OK(groups_memberships(t, arena, &q, &m, &n, &error));
    assert_int_equal(n, 2);
    assert_true(conv_id_equal(&m[0].conversation.id, &direct.id)); /* the newest activity first */
    assert_string_equal(m[0].other_user, "alice");
    assert_true(m[0].unread == 2 && m[0].last->seq == 3 && m[0].conversation.last_seq == 3);
    assert_true(m[1].unread == 0 && m[1].last == NULL && m[1].other_user == NULL);

    struct mark mark = {.conv = direct.id, .user = bob, .device = {.s = "phone"}, .delivered_seq = 2, .read_seq = 1};
    OK(marks_device_seen(t, arena, &bob, &mark.device, &error));
    OK(marks_raise(t, arena, &mark, 1, &error));
    q.device = "phone";
    OK(groups_memberships(t, arena, &q, &m, &n, &error));
    assert_true(m[0].me.delivered_seq == 2 && m[0].me.read_seq == 1 && m[0].unread == 1);
    mark.delivered_seq = 1; /* never lowered */
    OK(marks_raise(t, arena, &mark, 1, &error));
    mark = (struct mark){.conv = direct.id, .user = bob, .device = {.s = "phone"}, .read_seq = 99};
    OK(marks_raise(t, arena, &mark, 1, &error));
    OK(groups_memberships(t, arena, &q, &m, &n, &error));
    assert_true(m[0].me.delivered_seq == 2 && m[0].me.read_seq == 3 && m[0].unread == 0); /* cut to the log */
    struct device_id tablet = {.s = "tablet"};
    OK(marks_device_seen(t, arena, &bob, &tablet, &error)); /* starts at the user's own */
    q.device = "tablet";
    OK(groups_memberships(t, arena, &q, &m, &n, &error));
    assert_int_equal(m[0].me.delivered_seq, 3);
    assert_int_equal(change(t, &group, ENTRY_MEMBER_LEFT, "bob", "{\"user_id\":\"bob\"}"), APPEND_WRITTEN);
    OK(groups_memberships(t, arena, &q, &m, &n, &error));
    assert_int_equal(n, 1);
    q.with_left = true;
    OK(groups_memberships(t, arena, &q, &m, &n, &error));
    assert_int_equal(n, 2);
    assert_true(m[0].me.left_seq == 2);
    q = (struct memberships_query){.user = bob, .limit = 1, .kind = "direct"};
    OK(groups_memberships(t, arena, &q, &m, &n, &error));
    assert_int_equal(n, 1);
    q.after_ms = m[0].conversation.last_ms;
    q.after_id = m[0].conversation.id;
    OK(groups_memberships(t, arena, &q, &m, &n, &error));
    assert_int_equal(n, 0);
}

static void test_devices(void **state)
{
    (void)state;
    struct tenant *t = make_app("devices");
    struct user_id nobody = user("nobody"), alice = user("alice");
    struct device_id d = {.s = "x"};
    FAILS(ERR_NOT_FOUND, marks_device_seen(t, arena, &nobody, &d, &error));
    make_user(t, "alice");
    for (int i = 0; i < 55; i++) {
        snprintf(d.s, sizeof(d.s), "d%d", i);
        OK(marks_device_seen(t, arena, &alice, &d, &error));
    }
    PGconn *pg = raw_link("parley_owner", "PARLEY_TEST_OWNER_PASSWORD_FILE");
    char app[UUID_TEXT_MAX];
    const char *values[] = {uuid_print(tenant_app(t)->b, app)};
    PQclear(PQexec(pg, "alter table devices no force row level security"));
    PGresult *res =
        PQexecParams(pg, "select count(*), bool_or(device_id = 'd0'), bool_or(device_id = 'd54') from devices where app_id = $1::uuid", 1,
                     NULL, values, NULL, NULL, 0);
    PQclear(PQexec(pg, "alter table devices force row level security"));
    assert_string_equal(PQgetvalue(res, 0, 0), "50");
    assert_string_equal(PQgetvalue(res, 0, 1), "f");
    assert_string_equal(PQgetvalue(res, 0, 2), "t");
    PQclear(res);
    PQfinish(pg);
}

static void test_roles(void **state)
{
    (void)state;
    struct tenant *t = make_app("roles");
    const char *others[] = {"bob"};
    make_user(t, "alice");
    make_user(t, "bob");
    struct conv_id id = make_group(t, "alice", 1, others);
    json_t *roles;
    bool made;
    OK(groups_roles(t, arena, &roles, &error));
    assert_int_equal(json_array_size(roles), 5);
    json_t *edit = json_own(arena, json_pack("[s]", "edit_group"));
    OK(groups_role_put(t, arena, "editor", edit, &made, &error));
    assert_true(made);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_ROLE_CHANGED, "alice", "{\"user_id\":\"bob\",\"role\":\"editor\"}"), APPEND_WRITTEN);
    assert_int_equal(say(t, &id, "bob", ""), APPEND_ROLE);
    OK(groups_role_put(t, arena, "editor", json_own(arena, json_pack("[s, s]", "edit_group", "send_messages")), &made, &error));
    assert_false(made);
    assert_int_equal(say(t, &id, "bob", ""), APPEND_WRITTEN);
    FAILS(ERR_ALREADY_EXISTS, groups_role_delete(t, arena, "editor", &error));
    OK(groups_roles(t, arena, &roles, &error));
    assert_int_equal(json_array_size(roles), 6);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_ROLE_CHANGED, "alice", "{\"user_id\":\"bob\",\"role\":\"member\"}"), APPEND_WRITTEN);
    assert_int_equal(groups_role_delete(t, arena, "editor", &error), 1);
    assert_int_equal(groups_role_delete(t, arena, "editor", &error), 0);
    OK(groups_role_put(t, arena, "member", json_own(arena, json_array()), &made, &error)); /* a built-in role made narrower, and back */
    assert_int_equal(say(t, &id, "bob", ""), APPEND_ROLE);
    assert_int_equal(groups_role_delete(t, arena, "member", &error), 1);
    assert_int_equal(say(t, &id, "bob", ""), APPEND_WRITTEN);
}

static void test_leases(void **state)
{
    (void)state;
    char node[NODE_ID_MAX + 1];
    struct lease *l;
    int n, at = -1;
    lease_node_id(node);
    assert_int_equal(strlen(node), 16);
    assert_int_equal(lease_beat(arena, node, "realtime", "127.0.0.1:1", false, &error), 0);
    assert_int_equal(lease_beat(arena, node, "realtime", "127.0.0.1:1", true, &error), 0);
    OK(lease_list(arena, &l, &n, &error));
    for (int i = 0; i < n; i++) {
        at = strcmp(l[i].node, node) == 0 ? i : at;
    }
    assert_true(at >= 0 && l[at].beat == 2 && l[at].bus_lost);
    assert_int_equal(lease_close(arena, node, 1, &error), 0);
    assert_int_equal(lease_close(arena, node, 2, &error), 1);
    assert_int_equal(lease_close(arena, node, 2, &error), 0);
    assert_int_equal(lease_beat(arena, node, "realtime", "127.0.0.1:1", false, &error), 1);
}

static void test_lease_prefixes(void **state)
{
    (void)state;
    assert_int_equal(lease_beat(arena, "qqq-1", "realtime", "127.0.0.1:1", false, &error), 0);
    assert_int_equal(lease_beat(arena, "qqq-2", "realtime", "127.0.0.1:2", false, &error), 1);
    assert_int_equal(lease_beat(arena, "QQQ-2", "realtime", "127.0.0.1:2", false, &error), 0);
    assert_int_equal(lease_beat(arena, "qqq-3", "api", "127.0.0.1:3", false, &error), 0);
    assert_int_equal(lease_beat(arena, "qqq-1", "realtime", "127.0.0.1:1", false, &error), 0);
    assert_int_equal(lease_close(arena, "qqq-1", -1, &error), 1);
    assert_int_equal(lease_beat(arena, "qqq-2", "realtime", "127.0.0.1:2", false, &error), 0);
    assert_int_equal(lease_beat(arena, "qqq-1", "realtime", "127.0.0.1:1", false, &error), 1);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(lease_close(arena, i == 1 ? "QQQ-2" : i == 2 ? "qqq-2" : "qqq-3", -1, &error), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apps),    cmocka_unit_test(test_apps_list),   cmocka_unit_test(test_apikeys),
        cmocka_unit_test(test_signing), cmocka_unit_test(test_users),       cmocka_unit_test(test_groups),
        cmocka_unit_test(test_direct),  cmocka_unit_test(test_memberships), cmocka_unit_test(test_devices),
        cmocka_unit_test(test_roles),   cmocka_unit_test(test_leases),      cmocka_unit_test(test_lease_prefixes),
    };
    return cmocka_run_group_tests_name("storage: nouns", tests, storage_setup, storage_teardown);
}
