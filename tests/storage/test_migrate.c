/* parley-migrate's work on a schema of its own in the test database (PARLEY_DATABASE, PARLEY_TEST_OWNER_PASSWORD_FILE). */
#include "storage/migrate.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct config config;
static PGconn *pg;
static char output[4096];

static char *one_line(const char *path)
{
    static char line[256];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    fclose(f);
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static void sql(const char *text)
{
    PGresult *res = PQexec(pg, text);
    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", text, PQerrorMessage(pg));
    }
    PQclear(res);
}

static int number(const char *text)
{
    PGresult *res = PQexec(pg, text);
    assert_int_equal(PQresultStatus(res), PGRES_TUPLES_OK);
    int n = atoi(PQgetvalue(res, 0, 0));
    PQclear(res);
    return n;
}

static int migrate(enum migrate_mode mode, struct err *e)
{
    FILE *out = fmemopen(output, sizeof(output), "w");
    *e = (struct err){0};
    int result = migrate_run(&config, mode, out, e);
    fclose(out);
    return result;
}

static int start(void **state)
{
    (void)state;
    static char scratch[512];
    const char *keys[] = {"dbname", "user", "password", NULL};
    config.database_password = one_line(getenv("PARLEY_TEST_OWNER_PASSWORD_FILE"));
    const char *values[] = {getenv("PARLEY_DATABASE"), "parley_owner", config.database_password, NULL};
    pg = PQconnectdbParams(keys, values, 1);
    assert_int_equal(PQstatus(pg), CONNECTION_OK);
    snprintf(scratch, sizeof(scratch), "%s options='-c search_path=scratch'", getenv("PARLEY_DATABASE"));
    config.database = scratch;
    return 0;
}

static int end(void **state)
{
    (void)state;
    sql("set client_min_messages = warning; drop schema if exists scratch cascade");
    PQfinish(pg);
    return 0;
}

static int fresh(void **state)
{
    (void)state;
    sql("set client_min_messages = warning; drop schema if exists scratch cascade; create schema scratch; set search_path = scratch");
    return 0;
}

static void dry_run_writes_nothing(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(migrate(MIGRATE_DRY_RUN, &e), 0);
    assert_non_null(strstr(output, "pending  0001_"));
    assert_int_equal(number("select count(*) from pg_class where relnamespace = 'scratch'::regnamespace"), 0);
}

static void up_is_idempotent(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(migrate(MIGRATE_UP, &e), 0);
    assert_non_null(strstr(output, "applied  0001_"));
    assert_int_equal(number("select max(version) from schema_migrations"), migrate_latest());
    assert_int_equal(migrate(MIGRATE_UP, &e), 0);
    assert_null(strstr(output, "applied  0001_"));
    assert_int_equal(migrate(MIGRATE_STATUS, &e), 0);
    assert_null(strstr(output, "pending"));
}

static void refuses(const char *change, const char *message)
{
    struct err e;
    assert_int_equal(migrate(MIGRATE_UP, &e), 0);
    sql(change);
    for (int mode = MIGRATE_UP; mode <= MIGRATE_STATUS; mode++) {
        assert_int_equal(migrate((enum migrate_mode)mode, &e), -1);
        assert_non_null(strstr(e.msg, message));
    }
}

static void refuses_a_changed_file(void **state)
{
    (void)state;
    refuses("update schema_migrations set sha256 = 'other' where version = 1", "0001_core.sql was changed");
}

static void refuses_a_newer_database(void **state)
{
    (void)state;
    refuses("insert into schema_migrations select max(version) + 1, '9999_future.sql', 'x' from schema_migrations", "9999_future.sql");
}

static void refuses_a_gap(void **state)
{
    (void)state;
    refuses("delete from schema_migrations where version = 1", "out of order");
}

static void failure_keeps_nothing_of_the_file(void **state)
{
    (void)state;
    struct err e;
    sql("create table users ()");
    assert_int_equal(migrate(MIGRATE_UP, &e), -1);
    assert_non_null(strstr(e.msg, "0001_core.sql"));
    assert_non_null(strstr(e.msg, "users"));
    assert_int_equal(number("select count(*) from schema_migrations"), 0);
    assert_int_equal(number("select count(*) from pg_class where relnamespace = 'scratch'::regnamespace and relname = 'apps'"), 0);
    sql("drop table users");
    assert_int_equal(migrate(MIGRATE_UP, &e), 0);
}

static void *migrate_in_a_thread(void *result)
{
    struct err e = {0};
    FILE *out = fopen("/dev/null", "w");
    *(int *)result = migrate_run(&config, MIGRATE_UP, out, &e);
    fclose(out);
    return NULL;
}

static void several_at_once_apply_once(void **state)
{
    (void)state;
    pthread_t threads[4];
    int results[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, migrate_in_a_thread, &results[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(results[i], 0);
    }
    assert_int_equal(number("select count(*) from schema_migrations"), migrate_latest());
}

static void says_when_the_server_is_away(void **state)
{
    (void)state;
    struct config away = config;
    struct err e = {0};
    away.database = "host=/nonexistent dbname=parley";
    assert_int_equal(migrate_run(&away, MIGRATE_UP, stdout, &e), -1);
    assert_non_null(strstr(e.msg, "cannot connect as parley_owner"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(dry_run_writes_nothing, fresh),
        cmocka_unit_test_setup(up_is_idempotent, fresh),
        cmocka_unit_test_setup(refuses_a_changed_file, fresh),
        cmocka_unit_test_setup(refuses_a_newer_database, fresh),
        cmocka_unit_test_setup(refuses_a_gap, fresh),
        cmocka_unit_test_setup(failure_keeps_nothing_of_the_file, fresh),
        cmocka_unit_test_setup(several_at_once_apply_once, fresh),
        cmocka_unit_test(says_when_the_server_is_away),
    };
    return cmocka_run_group_tests(tests, start, end);
}
