/* Tenant isolation, fences 3 to 5: statements bind the app, keys hold it, row-level security stands without either. */
#include "storage_test.h"

#include "storage/entries.h"

static const char *const tables[] = {"api_keys", "api_secrets", "signing_keys", "revoked_tokens", "users",   "roles", "conversations",
                                     "heads",    "members",     "entries",      "marks",          "devices", "apps"};
#define TABLES ((int)(sizeof(tables) / sizeof(tables[0])))

static void test_statements_bind_the_app(void **state)
{
    (void)state;
    for (int i = 0; i < PG_STATEMENT_COUNT; i++) {
        const struct pg_statement_text *s = &pg_statements[i];
        if (s->scope == PG_TENANT && strstr(s->sql, "app_id = $1") == NULL && strstr(s->sql, "$1::uuid") == NULL) {
            fail_msg("%s does not bind the app", s->name);
        }
    }
}

/* A table's name stands here on purpose, or it has all fences. */
static void test_every_table_is_fenced(void **state)
{
    (void)state;
    PGconn *pg = raw_link("parley_owner", "PARLEY_TEST_OWNER_PASSWORD_FILE");
    PGresult *res = PQexec(
        pg,
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = 'public' and c.relkind in ('r', 'p') and c.relname not in ('leases', 'schema_migrations') and not ("
        " c.relrowsecurity and c.relforcerowsecurity "
        " and exists (select 1 from pg_policies p where p.schemaname = 'public' and p.tablename = c.relname and p.policyname = 'tenant' "
        "  and p.qual = '(app_id = (current_setting(''parley.app''::text))::uuid)' and p.with_check = p.qual) "
        " and not exists (select 1 from pg_policies p where p.tablename = c.relname and p.policyname <> 'tenant' "
        "  and p.roles && array['public', 'parley_api', 'parley_gateway', 'parley_archiver']::name[]) "
        " and exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'app_id' and a.attnotnull) "
        /* every unique key starts with or holds app_id; every foreign key has it on both sides */
        " and not exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisunique and not exists (select 1 from pg_attribute a "
        "  where a.attrelid = c.oid and a.attname = 'app_id' and a.attnum = any(i.indkey))) "
        " and not exists (select 1 from pg_constraint f where f.conrelid = c.oid and f.contype = 'f' and not exists (select 1 from "
        "pg_attribute a "
        "  where a.attrelid = c.oid and a.attname = 'app_id' and a.attnum = any(f.conkey))))");
    assert_int_equal(PQresultStatus(res), PGRES_TUPLES_OK);
    for (int i = 0; i < PQntuples(res); i++) {
        print_error("%s lacks a fence\n", PQgetvalue(res, i, 0));
    }
    assert_int_equal(PQntuples(res), 0);
    PQclear(res);
    res = PQexec(
        pg,
        "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relrowsecurity");
    assert_int_equal(atoi(PQgetvalue(res, 0, 0)), TABLES); /* the list above is whole */
    PQclear(res);
    res = PQexec(
        pg, "select rolname from pg_roles where rolname like 'parley\\_%' and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)");
    assert_int_equal(PQntuples(res), 0);
    PQclear(res);
    res = PQexec(pg, "select 1 from pg_class c join pg_roles r on r.oid = c.relowner join pg_namespace n on n.oid = c.relnamespace "
                     "where n.nspname = 'public' and r.rolname <> 'parley_owner'");
    assert_int_equal(PQntuples(res), 0);
    PQclear(res);
    res = PQexec(pg, "select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public' "
                     "and (p.prosecdef or has_function_privilege('public', p.oid, 'execute'))");
    assert_int_equal(PQntuples(res), 0);
    PQclear(res);
    PQfinish(pg);
}

static const char *refused(PGconn *pg, const char *sql)
{
    assert_string_equal(raw_state(pg, "begin"), "");
    const char *s = raw_state(pg, sql);
    PQclear(PQexec(pg, "rollback"));
    return s;
}

static void test_no_tenant_no_rows(void **state)
{
    (void)state;
    static const struct {
        const char *role, *password;
    } roles[] = {{"parley_api", "PARLEY_DATABASE_PASSWORD_FILE"}, {"parley_gateway", "PARLEY_TEST_GATEWAY_PASSWORD_FILE"}};
    struct tenant *t = make_app("no tenant");
    char sql[200], app[UUID_TEXT_MAX];
    make_user(t, "alice");
    for (size_t r = 0; r < 2; r++) {
        PGconn *pg = raw_link(roles[r].role, roles[r].password);
        for (int i = 0; i < TABLES; i++) {
            snprintf(sql, sizeof(sql), "select count(*) from %s", tables[i]);
            const char *s = raw_state(pg, sql);
            bool closed = strcmp(s, "42704") == 0 || strcmp(s, "42501") == 0; /* not set; or no privilege at all */
            assert_true(closed);
        }
        snprintf(sql, sizeof(sql), "begin; select set_config('parley.app', '%s', true); commit", uuid_print(tenant_app(t)->b, app));
        assert_string_equal(raw_state(pg, sql), "");
        assert_string_equal(raw_state(pg, "select count(*) from users"), "22P02"); /* no tenant outlives its transaction */
        PQfinish(pg);
    }
}

static void test_roles_reach_no_further(void **state)
{
    (void)state;
    struct tenant *t = make_app("roles");
    char sql[600], app[UUID_TEXT_MAX];
    make_user(t, "alice");
    uuid_print(tenant_app(t)->b, app);
    PGconn *api = raw_link("parley_api", "PARLEY_DATABASE_PASSWORD_FILE"),
           *gateway = raw_link("parley_gateway", "PARLEY_TEST_GATEWAY_PASSWORD_FILE"),
           *writer = raw_link("parley_writer", "PARLEY_WRITER_PASSWORD_FILE");
    snprintf(sql, sizeof(sql), "set local parley.app = '%s'; delete from entries", app);
    assert_string_equal(refused(api, sql), "42501");
    snprintf(sql, sizeof(sql),
             "set local parley.app = '%s'; insert into entries (seq, created_at, kind, app_id, conversation_id, mid, sender_id, body) "
             "values (1, now(), 1, '%s', '%s', '%s', '', '')",
             app, app, app, app);
    assert_string_equal(refused(api, sql), "42501");
    snprintf(sql, sizeof(sql), "set local parley.app = '%s'; insert into users (app_id, user_id) values (gen_random_uuid(), 'x')", app);
    assert_string_equal(refused(api, sql), "42501"); /* another app's row: with check */
    assert_string_equal(refused(api, "set local role parley_platform; select count(*) from users"), "42501");
    assert_string_equal(refused(gateway, "set local role parley_platform"), "42501");
    assert_string_equal(refused(gateway, "set local role parley_writer"), "42501");
    snprintf(sql, sizeof(sql), "set local parley.app = '%s'; update apps set name = 'x'", app);
    assert_string_equal(refused(gateway, sql), "42501");
    assert_string_equal(refused(writer, "select body from entries"), "42501");
    assert_string_equal(refused(writer, "delete from entries"), "42501");
    assert_string_equal(refused(writer, "update entries set body = ''"), "42501");
    assert_string_equal(refused(writer, "select name from users"), "42501");
    assert_string_equal(refused(writer, "select secret from signing_keys"), "42501");
    PQfinish(api);
    PQfinish(gateway);
    PQfinish(writer);
}

/* Two apps with equal ids and names everywhere. */
static void test_twins(void **state)
{
    (void)state;
    struct tenant *a = make_app("twin"), *b = make_app("twin");
    make_user(a, "alice");
    make_user(a, "bob");
    make_user(b, "alice");
    const char *others[] = {"bob"};
    struct conv_id id = make_group(a, "alice", 1, others);
    struct user_id alice = user("alice"), bob = user("bob");
    struct user u;
    struct conversation c;
    struct member m, *members;
    struct membership *list;
    struct entry en, *entries;
    int n;
    int64_t last;
    bool made;
    struct append row = row_of(a, &id, ENTRY_MESSAGE, "alice", "1", "{\"text\":\"MARKER\"}"),
                  foreign = row_of(b, &id, ENTRY_MESSAGE, "alice", "1", "{}");
    assert_int_equal(put(&row), APPEND_WRITTEN);
    assert_int_equal(put(&foreign), APPEND_NOT_FOUND);
    foreign = row_of(b, &id, ENTRY_MESSAGE, "", "2", "{}");
    assert_int_equal(put(&foreign), APPEND_NOT_FOUND); /* not even with an API key */
    foreign = row_of(b, &id, ENTRY_GROUP_UPDATED, "", "", "{\"name\":\"stolen\"}");
    assert_int_equal(put(&foreign), APPEND_NOT_FOUND);
    assert_int_equal(users_get(b, arena, &bob, &u, &error), 0);
    assert_int_equal(users_set_active(b, arena, &bob, false, &u, &error), 0);
    assert_int_equal(groups_get(b, arena, &id, &c, &error), 0);
    assert_int_equal(groups_member(b, arena, &id, &alice, &m, &error), 0);
    OK(groups_members(b, arena, &id, NULL, "", 10, &members, &n, &error));
    assert_int_equal(n, 0);
    struct memberships_query q = {.user = alice, .with_last = true, .with_left = true, .limit = 10};
    OK(groups_memberships(b, arena, &q, &list, &n, &error));
    assert_int_equal(n, 0);
    assert_int_equal(entries_get(b, arena, &id, &row.entry.mid, &en, &error), 0);
    OK(entries_after(b, arena, &id, 0, INT64_MAX, 10, 1 << 20, &entries, &n, &error));
    assert_int_equal(n, 0);
    OK(entries_heads(b, arena, &id, 1, &last, &error));
    assert_int_equal(last, -1);
    FAILS(ERR_NOT_FOUND, groups_direct(b, arena, &alice, &bob, &c, &made, &error));
    struct conv_id da = groups_direct_id(a, &alice, &bob), db = groups_direct_id(b, &alice, &bob);
    assert_false(conv_id_equal(&da, &db));
    /* The same conversation id in the other app is another conversation. */
    foreign =
        row_of(b, &id, ENTRY_GROUP_CREATED, "alice", "", "{\"name\":\"mine\",\"members\":[{\"user_id\":\"alice\",\"role\":\"owner\"}]}");
    assert_int_equal(put(&foreign), APPEND_WRITTEN);
    assert_int_equal(groups_get(a, arena, &id, &c, &error), 1);
    assert_true(c.last_seq == 2 && c.member_count == 2 && strcmp(c.name, "room") == 0);
    assert_int_equal(groups_get(b, arena, &id, &c, &error), 1);
    assert_true(c.last_seq == 1 && c.member_count == 1 && strcmp(c.name, "mine") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements_bind_the_app),
        cmocka_unit_test(test_every_table_is_fenced),
        cmocka_unit_test(test_no_tenant_no_rows),
        cmocka_unit_test(test_roles_reach_no_further),
        cmocka_unit_test(test_twins),
    };
    return cmocka_run_group_tests_name("storage: fences", tests, storage_setup, storage_teardown);
}
