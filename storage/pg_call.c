/* One call = one pipeline = one implicit transaction: prelude (sets app or role), statement, Sync. */
#include "storage/pg.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "storage/pg-link.h"

#include <assert.h>
#include <poll.h>

#define STATEMENT_MS 5000 /* the server's own statement_timeout and lock_timeout come first (migrations/roles.sql) */

const struct pg_statement_text pg_statements[PG_STATEMENT_COUNT] = {
#define S(name, scope, effect, sql) [PG_##name] = {#name, PG_##scope, PG_##effect, sql},
    STATEMENTS(S)
#undef S
};

static const struct {
    const char *name, *sql;
} preludes[PG_PRELUDE_COUNT] = {
    [PG_PRELUDE_APP] = {"PRELUDE_APP", "select set_config('parley.app', $1::text, true)"},
    [PG_PRELUDE_PLATFORM] = {"PRELUDE_PLATFORM", "select set_config('role', 'parley_platform', true)"},
};

struct call {
    enum pg_statement statement;
    const char *const *values;
    const int *lengths, *formats;
    int n;
    enum pg_login login;
    int timeout_ms;
    int prelude;             /* enum pg_prelude; -1 none */
    char app[UUID_TEXT_MAX]; /* of PG_PRELUDE_APP */
};

enum outcome {
    DONE,
    FAILED, /* the server refused it: certainly nothing was kept */
    LOST,   /* the link broke after sending */
    LATE    /* no answer in time */
};

static _Thread_local struct pg_failure failure;

const struct pg_failure *pg_failure(void)
{
    return &failure;
}

static bool send_prelude(struct pg_link *l, const struct call *c)
{
    const char *values[1] = {c->app};
    if (!l->prelude_prepared[c->prelude] && !PQsendPrepare(l->conn, preludes[c->prelude].name, preludes[c->prelude].sql, 0, NULL)) {
        return false;
    }
    return PQsendQueryPrepared(l->conn, preludes[c->prelude].name, c->prelude == PG_PRELUDE_APP, values, NULL, NULL, 1) == 1;
}

static bool send_call(struct pg_link *l, const struct call *c)
{
    const struct pg_statement_text *s = &pg_statements[c->statement];
    if (c->prelude >= 0 && !send_prelude(l, c)) {
        return false;
    }
    if (!l->prepared[c->statement] && !PQsendPrepare(l->conn, s->name, s->sql, 0, NULL)) {
        return false;
    }
    return PQsendQueryPrepared(l->conn, s->name, c->n, c->values, c->lengths, c->formats, 1) == 1 && PQpipelineSync(l->conn) == 1;
}

/* What the results will be of, in order. The statement's own result comes last. */
struct expected {
    bool *sets[4]; /* a flag to raise when this item succeeds, or NULL */
    int n;
};

static void expect(struct expected *x, bool *prepared)
{
    if (!*prepared) {
        x->sets[x->n++] = prepared;
    }
    x->sets[x->n++] = NULL;
}

static enum outcome next_result(PGconn *conn, int64_t deadline, PGresult **res_r)
{
    while (PQisBusy(conn)) {
        int left = PQflush(conn);
        if (left < 0) {
            return LOST;
        }
        int ready = pg_link_wait(conn, (short)(left > 0 ? POLLIN | POLLOUT : POLLIN), deadline);
        if (ready <= 0) {
            return ready < 0 ? LOST : LATE;
        }
        if (!PQconsumeInput(conn)) {
            return LOST;
        }
    }
    *res_r = PQgetResult(conn);
    return DONE;
}

static void note_failure(const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE), *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
    snprintf(failure.sqlstate, sizeof(failure.sqlstate), "%s", state != NULL ? state : "");
    snprintf(failure.constraint, sizeof(failure.constraint), "%s", constraint != NULL ? constraint : "");
}

static void log_failure(const struct call *c, const PGresult *res)
{
    /* Messages of classes 22 and 23 quote data. */
    bool quotes = failure.sqlstate[0] == '2' && (failure.sqlstate[1] == '2' || failure.sqlstate[1] == '3');
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (strncmp(failure.sqlstate, "23", 2) != 0) {
        log_error("postgres_error", "statement %s failed: SQLSTATE %s %s", pg_statements[c->statement].name, failure.sqlstate,
                  quotes || message == NULL ? "" : message);
    }
}

/* An error in place of an item's result, or in place of the Sync's: there a session that was ended may have committed just before. */
static enum outcome judge_error(const struct call *c, const PGresult *res, bool at_sync)
{
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    note_failure(res);
    if (failure.sqlstate[0] == '\0') {
        return LOST; /* made up by libpq: the connection is gone */
    }
    log_failure(c, res);
    return at_sync && severity != NULL && strcmp(severity, "ERROR") != 0 ? LOST : FAILED;
}

/* Reads up to the Sync. *res_r is the statement's result, only when DONE. */
static enum outcome receive(struct pg_link *l, const struct call *c, const struct expected *x, int64_t deadline, PGresult **res_r)
{
    enum outcome worst = DONE;
    PGresult *last = NULL, *res = NULL;
    int item = 0;
    for (;;) {
        enum outcome o = next_result(l->conn, deadline, &res);
        if (o == DONE && res == NULL && PQstatus(l->conn) == CONNECTION_BAD) {
            o = LOST;
        }
        if (o != DONE) {
            PQclear(last);
            return worst == FAILED ? FAILED : o;
        }
        ExecStatusType status = res != NULL ? PQresultStatus(res) : PGRES_EMPTY_QUERY;
        if (status == PGRES_PIPELINE_SYNC) {
            PQclear(res);
            break;
        }
        if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
            if (item < x->n && x->sets[item] != NULL) {
                *x->sets[item] = true;
            }
            PQclear(last);
            last = res;
            item++;
            continue;
        }
        if (status == PGRES_FATAL_ERROR && worst == DONE) {
            worst = judge_error(c, res, item == x->n);
        }
        PQclear(res);
    }
    if (worst != DONE) {
        PQclear(last);
        return worst;
    }
    assert(item == x->n);
    *res_r = last;
    return DONE;
}

static enum outcome run(struct pg_link *l, const struct call *c, PGresult **res_r)
{
    struct expected x = {.n = 0};
    if (c->prelude >= 0) {
        expect(&x, &l->prelude_prepared[c->prelude]);
    }
    expect(&x, &l->prepared[c->statement]);
    failure = (struct pg_failure){0};
    metric_add(METRIC_PG_STATEMENTS, pg_statements[c->statement].name, NULL, 1);
    enum outcome o = send_call(l, c) ? receive(l, c, &x, clock_mono_ms() + c->timeout_ms, res_r) : LOST;
    if (o != DONE) {
        char class[5] = {failure.sqlstate[0], failure.sqlstate[1], '\0'};
        metric_add(METRIC_PG_ERRORS, o == LATE ? "late" : o == LOST ? "lost" : class, NULL, 1);
    }
    if (o == LOST || o == LATE || PQstatus(l->conn) != CONNECTION_OK) {
        pg_link_drop(l);
    }
    return o;
}

static bool is(const char *state)
{
    return strcmp(failure.sqlstate, state) == 0;
}

static bool in_class(const char *class)
{
    return strncmp(failure.sqlstate, class, 2) == 0;
}

/* The prepared statement is gone or its result's type has changed (a migration): on a new link it is prepared anew. */
static bool plan_is_stale(void)
{
    return is("26000") || is("0A000");
}

static int fail(const struct call *c, enum outcome o, struct err *e)
{
    if (o == LOST || o == LATE) {
        if (pg_statements[c->statement].effect == PG_WRITE) {
            return err_set(e, ERR_UNCERTAIN, "The connection to the database broke; the outcome is unknown. Send the same request again.");
        }
        return o == LATE ? err_set(e, ERR_UPSTREAM_TIMEOUT, "The database did not answer in time; try again.")
                         : err_set(e, ERR_STORAGE_UNAVAILABLE, "The connection to the database broke; try again.");
    }
    if (is("23505")) {
        return err_set(e, ERR_ALREADY_EXISTS, "A resource with this id or name exists already.");
    }
    if (is("23503")) {
        return err_set(e, ERR_NOT_FOUND, "Something that the request refers to does not exist.");
    }
    if (is("57014") || is("55P03")) {
        return err_set(e, ERR_UPSTREAM_TIMEOUT, "The database did not answer in time; try again.");
    }
    if (in_class("PA") || in_class("08") || in_class("40") || in_class("53") || in_class("57") || in_class("58") || is("25006")) {
        return err_set(e, ERR_STORAGE_UNAVAILABLE, "The database cannot do this now; try again shortly.");
    }
    return err_set(e, ERR_INTERNAL, "The database refused a statement.");
}

static void clear_result(void *p)
{
    PQclear(p);
}

static int call(const struct call *c, struct arena *a, struct pg_rows *rows_r, struct err *e)
{
    bool reads = pg_statements[c->statement].effect == PG_READ;
    PGresult *res = NULL;
    for (int attempt = 0;; attempt++) {
        failure = (struct pg_failure){0};
        struct pg_link *l = pg_link_get(c->login, c->timeout_ms, e);
        if (l == NULL) {
            return -1;
        }
        enum outcome o = run(l, c, &res);
        if (o == DONE) {
            break;
        }
        bool stale = o == FAILED && plan_is_stale();
        if (stale) {
            pg_link_drop(l);
        }
        if (attempt > 0 || !(stale || (o == LOST && reads))) {
            return fail(c, o, e);
        }
    }
    arena_defer(a, clear_result, res);
    *rows_r = (struct pg_rows){.res = res, .arena = a, .n = PQntuples(res)};
    return 0;
}

static struct call call_of(enum pg_statement s, const struct pg_args *q)
{
    return (struct call){.statement = s,
                         .values = q->values + 1,
                         .lengths = q->lengths + 1,
                         .formats = q->formats + 1,
                         .n = q->n,
                         .timeout_ms = STATEMENT_MS,
                         .prelude = -1};
}

int pg_query_app(const struct app_id *app, enum pg_statement s, struct pg_args *q, struct pg_rows *rows_r, struct err *e)
{
    assert(pg_statements[s].scope == PG_TENANT);
    struct call c = call_of(s, q);
    q->values[0] = (const char *)app->b;
    q->lengths[0] = sizeof(app->b);
    q->formats[0] = 1;
    c.values--;
    c.lengths--;
    c.formats--;
    c.n++;
    c.prelude = PG_PRELUDE_APP;
    uuid_print(app->b, c.app);
    return call(&c, q->arena, rows_r, e);
}

int pg_query(const struct tenant *t, enum pg_statement s, struct pg_args *q, struct pg_rows *rows_r, struct err *e)
{
    return pg_query_app(tenant_app(t), s, q, rows_r, e);
}

int pg_query_platform(const struct platform *p, enum pg_statement s, struct pg_args *q, struct pg_rows *rows_r, struct err *e)
{
    assert(p != NULL && pg_statements[s].scope == PG_PLATFORM);
    struct call c = call_of(s, q);
    c.prelude = PG_PRELUDE_PLATFORM;
    return call(&c, q->arena, rows_r, e);
}

int pg_query_open(enum pg_statement s, struct pg_args *q, struct pg_rows *rows_r, struct err *e)
{
    assert(pg_statements[s].scope == PG_OPEN || pg_statements[s].scope == PG_WRITER);
    struct call c = call_of(s, q);
    c.login = pg_statements[s].scope == PG_WRITER ? PG_LOGIN_WRITER : PG_LOGIN_PROGRAM;
    return call(&c, q->arena, rows_r, e);
}

int pg_ping(int timeout_ms, struct err *e)
{
    struct arena *a = arena_new("ping");
    struct pg_args q = {.arena = a};
    struct call c = call_of(PG_PING, &q);
    struct pg_rows rows;
    c.login = PG_LOGIN_PING;
    c.timeout_ms = timeout_ms;
    int result = call(&c, a, &rows, e);
    if (result == 0 && (rows.n != 1 || pg_get_int(&rows, 0, 0) != 1)) {
        result = err_set(e, ERR_STORAGE_UNAVAILABLE,
                         "The database is read-only or does not keep what it commits (fsync, full_page_writes, synchronous_commit).");
    }
    arena_free(&a);
    return result;
}
