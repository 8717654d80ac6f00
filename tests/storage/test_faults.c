/* What a sick Postgres does to the calls of this process: bounded waiting, the right error, recovery. Signals the server: PARLEY_TEST_POSTGRES_PID. */
#include "storage_test.h"

#include "storage/entries.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static pid_t postmaster;
static struct tenant *tenant;
static struct conv_id group;

static int faults_setup(void **state)
{
    const char *pid = getenv("PARLEY_TEST_POSTGRES_PID");
    if (pid == NULL || storage_setup(state) < 0) {
        print_error("PARLEY_TEST_POSTGRES_PID is not set\n");
        return -1;
    }
    postmaster = atoi(pid);
    tenant = make_app("faults");
    make_user(tenant, "alice");
    group = make_group(tenant, "alice", 0, NULL);
    return 0;
}

/* The server processes of one role, by a link that is none of them. */
static void signal_sessions(const char *role, int sig)
{
    PGconn *pg = raw_link("parley_owner", "PARLEY_TEST_OWNER_PASSWORD_FILE");
    char sql[160];
    snprintf(sql, sizeof(sql), "select pid from pg_stat_activity where usename = '%s'", role);
    PGresult *res = PQexec(pg, sql);
    assert_true(PQntuples(res) > 0);
    for (int i = 0; i < PQntuples(res); i++) {
        kill(atoi(PQgetvalue(res, i, 0)), sig);
    }
    PQclear(res);
    PQfinish(pg);
}

static int read_something(void)
{
    struct user_id id = user("alice");
    struct user u;
    return users_get(tenant, arena, &id, &u, &error);
}

static void wait_until_well(int limit_ms)
{
    int64_t end = clock_mono_ms() + limit_ms;
    while (read_something() < 0 || say(tenant, &group, "alice", "well") > APPEND_DUPLICATE) {
        assert_true(clock_mono_ms() < end);
        usleep(50000);
    }
}

static void test_ended_sessions(void **state)
{
    (void)state;
    assert_int_equal(read_something(), 1);
    assert_int_equal(say(tenant, &group, "alice", ""), APPEND_WRITTEN);
    signal_sessions("parley_api", SIGTERM);
    signal_sessions("parley_writer", SIGTERM);
    usleep(200000);
    assert_int_equal(read_something(), 1); /* nobody notices */
    assert_int_equal(say(tenant, &group, "alice", ""), APPEND_WRITTEN);
}

static void test_stopped_session(void **state)
{
    (void)state;
    struct append row = row_of(tenant, &group, ENTRY_MESSAGE, "alice", "stopped", "{}"), *list[] = {&row};
    assert_int_equal(read_something(), 1);
    OK(pg_ping(1000, &error));
    signal_sessions("parley_api", SIGSTOP);
    int64_t begin = clock_mono_ms();
    assert_int_equal(pg_ping(500, &error), -1);
    assert_true(clock_mono_ms() - begin < 1000);
    begin = clock_mono_ms();
    FAILS(ERR_UPSTREAM_TIMEOUT, read_something());
    assert_true(clock_mono_ms() - begin < 5500);
    signal_sessions("parley_api", SIGCONT);
    assert_int_equal(read_something(), 1);
    assert_int_equal(say(tenant, &group, "alice", ""), APPEND_WRITTEN);
    signal_sessions("parley_writer", SIGSTOP);
    FAILS(ERR_UNCERTAIN, outbox_append(list, 1, true, &error));
    signal_sessions("parley_writer", SIGCONT);
    wait_until_well(3000);
    assert_true(put(&row) <= APPEND_DUPLICATE); /* whichever it was, now it stands once */
}

static void *ping_in_thread(void *p)
{
    struct err e;
    int64_t begin = clock_mono_ms();
    *(int *)p = pg_ping(500, &e);
    return (void *)(intptr_t)(clock_mono_ms() - begin);
}

static void *read_in_thread(void *p)
{
    int64_t begin = clock_mono_ms();
    *(int *)p = read_something();
    return (void *)(intptr_t)(clock_mono_ms() - begin);
}

static int64_t in_thread(void *(*fn)(void *), int *result)
{
    pthread_t thread;
    void *took;
    assert_int_equal(pthread_create(&thread, NULL, fn, result), 0);
    assert_int_equal(pthread_join(thread, &took), 0);
    return (intptr_t)took;
}

/* A server that accepts and says nothing. */
static void test_stopped_server(void **state)
{
    (void)state;
    int result;
    kill(postmaster, SIGSTOP);
    assert_true(in_thread(ping_in_thread, &result) < 1000);
    assert_int_equal(result, -1);
    usleep(1100000);
    assert_true(in_thread(read_in_thread, &result) < 3000);
    assert_int_equal(result, -1);
    assert_string_equal(err_name(error.code), "storage_unavailable");
    assert_true(in_thread(read_in_thread, &result) < 100); /* the next ones fail at once */
    assert_int_equal(result, -1);
    kill(postmaster, SIGCONT);
    usleep(1100000);
    in_thread(read_in_thread, &result);
    assert_int_equal(result, 1);
}

static void *append_in_thread(void *p)
{
    struct append row = row_of(tenant, &group, ENTRY_MESSAGE, "alice", "killed", "{}"), *list[] = {&row};
    struct err e = {.code = ERR_OK};
    int result = outbox_append(list, 1, true, &e);
    *(enum err_code *)p = result < 0 ? e.code : ERR_OK;
    return NULL;
}

/* A server process dies with a statement in it: all sessions are cut, the server recovers. */
static void test_killed_server_process(void **state)
{
    (void)state;
    char sql[200], conv[UUID_TEXT_MAX];
    enum err_code code = ERR_OK;
    pthread_t thread;
    PGconn *pg = raw_link("parley_writer", "PARLEY_WRITER_PASSWORD_FILE");
    snprintf(sql, sizeof(sql), "begin; select 1 from heads where conversation_id = '%s' for update", uuid_print(group.b, conv));
    assert_string_equal(raw_state(pg, sql), "");
    assert_int_equal(pthread_create(&thread, NULL, append_in_thread, &code), 0);
    usleep(500000);
    kill(PQbackendPID(pg), SIGKILL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(code == ERR_UNCERTAIN || code == ERR_STORAGE_UNAVAILABLE);
    PQfinish(pg);
    wait_until_well(15000);
    struct append row = row_of(tenant, &group, ENTRY_MESSAGE, "alice", "killed", "{}");
    assert_true(put(&row) <= APPEND_DUPLICATE);
    assert_int_equal(put(&row), APPEND_DUPLICATE);
    struct entry *en;
    int n;
    OK(entries_after(tenant, arena, &group, 0, INT64_MAX, 100, 1 << 20, &en, &n, &error));
    for (int i = 0; i < n; i++) {
        assert_int_equal(en[i].seq, i + 1);
    }
}

static void test_nothing_listens(void **state)
{
    (void)state;
    struct config elsewhere = config;
    elsewhere.database = "host=127.0.0.1 port=1 dbname=parley";
    pg_thread_end();
    pg_start(&elsewhere, 'A', "test");
    int64_t begin = clock_mono_ms();
    for (int i = 0; i < 1000; i++) {
        FAILS(ERR_STORAGE_UNAVAILABLE, read_something());
    }
    FAILS(ERR_STORAGE_UNAVAILABLE, pg_ping(1000, &error));
    assert_true(clock_mono_ms() - begin < 1000);
    pg_start(&config, 'A', "test");
    usleep(250000);
    assert_int_equal(read_something(), 1);
    OK(pg_ping(1000, &error));
    OK(pg_schema_current(&error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ended_sessions),  cmocka_unit_test(test_stopped_session),       cmocka_unit_test(test_stopped_server),
        cmocka_unit_test(test_nothing_listens), cmocka_unit_test(test_killed_server_process),
    };
    return cmocka_run_group_tests_name("storage: faults", tests, faults_setup, storage_teardown);
}
