#include "storage/pg.h"
#include "storage/redis.h"

#include "core/clock.h"
#include "core/log.h"
#include "storage/migrate.h"
#include "storage/pg-link.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define CONNECT_MS 2500
#define RETRY_MS 200 /* a refusal costs nothing: try often */
#define LOG_MS 5000
#define RETRY_SILENT_MS 1000 /* a server that does not answer holds the thread for CONNECT_MS */

static struct {
    const char *database, *user, *password, *writer_password;
    char node[64];
} setup;

struct thread_links {
    struct pg_link links[PG_LOGIN_COUNT];
};
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t links_key;
static _Thread_local bool forbidden;
static _Atomic int64_t silent_until_ms; /* of the whole process: one thread found the server mute, the others need not */

static void free_links(void *p)
{
    struct thread_links *t = p;
    for (int i = 0; i < PG_LOGIN_COUNT; i++) {
        pg_link_drop(&t->links[i]);
    }
    free(t);
}

static void make_key(void)
{
    if (pthread_key_create(&links_key, free_links) != 0) {
        fputs("cannot create a thread key\n", stderr);
        abort();
    }
}

void pg_start(const struct config *c, char program, const char *node)
{
    pthread_once(&key_once, make_key);
    setup.database = c->database;
    setup.user = program == 'A' ? "parley_api" : program == 'R' ? "parley_gateway" : "parley_archiver";
    setup.password = c->database_password;
    setup.writer_password = c->writer_password;
    snprintf(setup.node, sizeof(setup.node), "%s", node);
}

static struct thread_links *thread_links(void)
{
    struct thread_links *t = pthread_getspecific(links_key);
    if (t == NULL) {
        t = calloc(1, sizeof(*t));
        if (t == NULL || pthread_setspecific(links_key, t) != 0) {
            fputs("out of memory: database links\n", stderr);
            abort();
        }
    }
    return t;
}

void pg_thread_end(void)
{
    pthread_once(&key_once, make_key);
    struct thread_links *t = pthread_getspecific(links_key);
    if (t != NULL) {
        pthread_setspecific(links_key, NULL);
        free_links(t);
    }
}

void pg_forbid_on_this_thread(void)
{
    forbidden = true;
    redis_forbid_on_this_thread();
}

void pg_link_drop(struct pg_link *l)
{
    int64_t retry_at = l->retry_at_ms;
    PQfinish(l->conn);
    *l = (struct pg_link){.retry_at_ms = retry_at};
}

int pg_link_wait(PGconn *conn, short events, int64_t deadline_ms)
{
    struct pollfd p = {.fd = PQsocket(conn), .events = events};
    for (;;) {
        int64_t left = deadline_ms - clock_mono_ms();
        int n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n >= 0) {
            return n > 0;
        }
        if (errno != EINTR) {
            return -1;
        }
    }
}

static void ignore_notice(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

static PGconn *connect_begin(enum pg_login login)
{
    bool writer = login == PG_LOGIN_WRITER;
    /* What stands before dbname are defaults that PARLEY_DATABASE may override. */
    const char *keys[] = {"connect_timeout",
                          "tcp_user_timeout",
                          "keepalives_idle",
                          "keepalives_interval",
                          "keepalives_count",
                          "dbname",
                          "user",
                          "password",
                          "application_name",
                          "client_encoding",
                          NULL};
    const char *values[] = {"2",
                            "5000",
                            "10",
                            "3",
                            "3",
                            setup.database,
                            writer ? "parley_writer" : setup.user,
                            writer ? setup.writer_password : setup.password,
                            setup.node,
                            "UTF8",
                            NULL};
    return PQconnectStartParams(keys, values, 1);
}

/* 0; -1 refused; -2 no answer in time. */
static int connect_finish(PGconn *conn, int64_t deadline_ms)
{
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    while (PQstatus(conn) != CONNECTION_BAD) {
        int ready = pg_link_wait(conn, want == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms);
        if (ready <= 0) {
            return ready < 0 ? -1 : -2;
        }
        want = PQconnectPoll(conn);
        if (want == PGRES_POLLING_OK) {
            return PQsetnonblocking(conn, 1) == 0 && PQenterPipelineMode(conn) == 1 ? 0 : -1;
        }
        if (want == PGRES_POLLING_FAILED) {
            return -1;
        }
    }
    return -1;
}

static int unavailable(struct err *e)
{
    return err_set(e, ERR_STORAGE_UNAVAILABLE, "The database cannot be reached; try again shortly.");
}

/* While the server is away every thread tries often; one line in LOG_MS is enough. */
static void log_refusal(PGconn *conn, int result)
{
    static _Atomic int64_t silent_log_until_ms;
    int64_t now = clock_mono_ms(), until = atomic_load(&silent_log_until_ms);
    if (now >= until && atomic_compare_exchange_strong(&silent_log_until_ms, &until, now + LOG_MS)) {
        const char *why = result == -2 ? "no answer in time" : PQerrorMessage(conn);
        log_warn("postgres_unreachable", "cannot connect to Postgres: %.*s", (int)strcspn(why, "\n"), why);
    }
}

static int open_link(struct pg_link *l, enum pg_login login, int timeout_ms, struct err *e)
{
    int64_t now = clock_mono_ms();
    if (now < l->retry_at_ms || now < atomic_load(&silent_until_ms)) {
        return unavailable(e);
    }
    PGconn *conn = connect_begin(login);
    int result = conn == NULL ? -1 : connect_finish(conn, now + timeout_ms);
    if (result < 0) {
        log_refusal(conn, result);
        PQfinish(conn);
        l->retry_at_ms = clock_mono_ms() + RETRY_MS;
        if (result == -2) {
            atomic_store(&silent_until_ms, clock_mono_ms() + RETRY_SILENT_MS);
        }
        return unavailable(e);
    }
    PQsetNoticeProcessor(conn, ignore_notice, NULL);
    *l = (struct pg_link){.conn = conn};
    return 0;
}

/* Nothing is in flight on an idle link: whatever can be read (an end of file, a farewell) means that it is finished. */
static bool went_stale(PGconn *conn)
{
    return PQstatus(conn) != CONNECTION_OK || pg_link_wait(conn, POLLIN, 0) != 0;
}

struct pg_link *pg_link_get(enum pg_login login, int timeout_ms, struct err *e)
{
    assert(!forbidden);
    struct pg_link *l = &thread_links()->links[login];
    if (l->conn != NULL && went_stale(l->conn)) {
        pg_link_drop(l);
    }
    if (l->conn == NULL && open_link(l, login, timeout_ms < CONNECT_MS ? timeout_ms : CONNECT_MS, e) < 0) {
        return NULL;
    }
    return l;
}

int pg_schema_current(struct err *e)
{
    struct arena *a = arena_new("schema");
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    int result = pg_query_open(PG_SCHEMA_VERSION, &q, &rows, e);
    if (result == 0 && pg_get_int(&rows, 0, 0) != migrate_latest()) {
        result = err_set(e, ERR_STORAGE_UNAVAILABLE, "the schema is at version %d, this program needs %d: run parley-migrate",
                         (int)pg_get_int(&rows, 0, 0), migrate_latest());
    }
    arena_free(&a);
    return result;
}
