/* storage_test.h: what the tests against a real Postgres share: settings from the environment (dev/with-stores), apps, users, groups, raw links. */
#ifndef TESTS_STORAGE_TEST_H
#define TESTS_STORAGE_TEST_H

#include "core/clock.h"
#include "core/crypto.h"
#include "core/tenant-private.h"
#include "storage/apps.h"
#include "storage/groups.h"
#include "storage/outbox.h"
#include "storage/pg-private.h"
#include "storage/pg.h"
#include "storage/users.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct config config;
static struct arena *arena;
static struct err error;

/* A call that must succeed; says why when it does not. */
#define OK(call) \
    do { \
        if ((call) < 0) { \
            fail_msg("%s: %s %s", #call, err_name(error.code), error.msg); \
        } \
    } while (0)
#define FAILS(code_, call) \
    do { \
        assert_int_equal((call), -1); \
        assert_string_equal(err_name(error.code), err_name(code_)); \
    } while (0)

static inline int storage_setup(void **state)
{
    (void)state;
    arena = arena_new("test");
    if (config_load(&config, 'A', &error) < 0) {
        fprintf(stderr, "%s\n", error.msg);
        return -1;
    }
    pg_start(&config, 'A', "test");
    return 0;
}

static inline int storage_teardown(void **state)
{
    (void)state;
    pg_thread_end();
    arena_free(&arena);
    return 0;
}

/* A new app with its tenant. */
static inline struct tenant *make_app(const char *name)
{
    struct app_new n = {.id = app_id_new(),
                        .name = name,
                        .id_key_sealed = (const uint8_t *)"sealed",
                        .id_key_sealed_len = 6,
                        .key_id = key_id_new(),
                        .secret_sha256 = (const uint8_t *)"0123456789abcdef0123456789abcdef",
                        .last4 = "last",
                        .kid = "kid-one1",
                        .signing_sealed = (const uint8_t *)"x",
                        .signing_sealed_len = 1,
                        .issuer = "parley"};
    char public_id[13];
    crypto_random_base62(public_id, 12);
    n.public_id = public_id;
    n.scopes = json_own(arena, json_pack("[s, s]", "users:read", "users:write"));
    struct app app;
    OK(apps_create(platform_get(), arena, &n, &app, &error));
    struct tenant *t = tenant_new(&app.id);
    crypto_random(t->id_key, sizeof(t->id_key));
    arena_defer(arena, tenant_unref, t);
    return t;
}

static inline struct user_id user(const char *s)
{
    struct user_id id;
    assert_int_equal(user_id_parse(s, &id), 0);
    return id;
}

static inline void make_user(struct tenant *t, const char *id)
{
    struct user_change c = {.id = user(id)};
    struct user u;
    bool made;
    OK(users_upsert(t, arena, &c, 1, &u, &made, &error));
}

/* Appends one row and returns its status. */
static inline enum append_status put(struct append *row)
{
    OK(outbox_append(&row, 1, true, &error));
    return row->status;
}

static inline struct append row_of(struct tenant *t, const struct conv_id *conv, enum entry_kind kind, const char *sender,
                                   const char *client, const char *body)
{
    struct append row;
    struct user_id who = {.s = ""};
    snprintf(who.s, sizeof(who.s), "%s", sender);
    outbox_row(t, &row, conv, kind, &who, client, body, strlen(body));
    row.trusted = sender[0] == '\0';
    return row;
}

static inline enum append_status say(struct tenant *t, const struct conv_id *conv, const char *sender, const char *client)
{
    struct append row = row_of(t, conv, ENTRY_MESSAGE, sender, client, "{\"type\":\"text\",\"text\":\"hello\"}");
    return put(&row);
}

static inline enum append_status change(struct tenant *t, const struct conv_id *conv, enum entry_kind kind, const char *actor,
                                        const char *body)
{
    struct append row = row_of(t, conv, kind, actor, "", body);
    return put(&row);
}

/* A group of `owner` (role owner; "" = made by an API key) and others with role member. */
static inline struct conv_id make_group(struct tenant *t, const char *owner, int n, const char *const *others)
{
    struct conv_id id = conv_id_new_group();
    json_t *members = json_array();
    if (owner[0] != '\0') {
        json_array_append_new(members, json_pack("{s:s, s:s}", "user_id", owner, "role", "owner"));
    }
    for (int i = 0; i < n; i++) {
        json_array_append_new(members, json_pack("{s:s, s:s}", "user_id", others[i], "role", "member"));
    }
    json_t *body = json_own(arena, json_pack("{s:s, s:s, s:o}", "kind", "group", "name", "room", "members", members));
    assert_int_equal(change(t, &id, ENTRY_GROUP_CREATED, owner, json_write(arena, body, NULL)), APPEND_WRITTEN);
    return id;
}

/* A link of another role, for what the programs never do. */
static inline PGconn *raw_link(const char *role, const char *password_variable)
{
    char password[256] = "";
    const char *path = getenv(password_variable);
    FILE *f = path != NULL ? fopen(path, "r") : NULL;
    if (f != NULL) {
        if (fgets(password, sizeof(password), f) == NULL) {
            password[0] = '\0';
        }
        fclose(f);
    }
    password[strcspn(password, "\n")] = '\0';
    const char *keys[] = {"dbname", "user", "password", NULL}, *values[] = {config.database, role, password, NULL};
    PGconn *pg = PQconnectdbParams(keys, values, 1);
    if (PQstatus(pg) != CONNECTION_OK) {
        fail_msg("%s: %s", role, PQerrorMessage(pg));
    }
    return pg;
}

/* The SQLSTATE of a statement, "" when it succeeds. */
static inline const char *raw_state(PGconn *pg, const char *sql)
{
    static char state[6];
    PGresult *res = PQexec(pg, sql);
    const char *s = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    snprintf(state, sizeof(state), "%s", s != NULL ? s : "");
    PQclear(res);
    return state;
}

#endif
