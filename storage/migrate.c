#include "storage/migrate.h"

#include "core/arena.h"
#include "core/crypto.h"
#include "core/embed.h"

#include <libpq-fe.h>
#include <stdbool.h>

/* Any constant will do; it must not change, since it keeps two releases from migrating at once. */
#define MIGRATE_LOCK "select pg_advisory_lock(7241930617)"

struct migration {
    int version;
    const char *name;
    const struct embed *file;
    char sha256[65];
};

struct run {
    PGconn *pg;
    struct arena *arena;
    struct migration *known; /* embedded, ascending from 1 */
    int known_count;
    int applied; /* the database is at this version */
};

static void find_embedded(struct run *r)
{
    for (size_t i = 0; embed_each(i) != NULL; i++) {
        r->known_count += strncmp(embed_each(i)->name, "migrations/", 11) == 0;
    }
    r->known = arena_array(r->arena, (size_t)r->known_count, sizeof(*r->known));
    struct migration *m = r->known;
    for (size_t i = 0; embed_each(i) != NULL; i++) {
        const struct embed *f = embed_each(i);
        if (strncmp(f->name, "migrations/", 11) != 0) {
            continue;
        }
        uint8_t hash[SHA256_LEN];
        crypto_sha256(f->data, f->len, hash);
        for (int b = 0; b < SHA256_LEN; b++) {
            snprintf(m->sha256 + 2 * b, 3, "%02x", hash[b]);
        }
        m->file = f;
        m->name = f->name + 11;
        m->version = atoi(m->name);
        m++;
    }
}

int migrate_latest(void)
{
    int latest = 0;
    for (size_t i = 0; embed_each(i) != NULL; i++) {
        if (strncmp(embed_each(i)->name, "migrations/", 11) == 0) {
            latest = atoi(embed_each(i)->name + 11);
        }
    }
    return latest;
}

static int fail(struct run *r, const char *what, struct err *e)
{
    const char *why = PQerrorMessage(r->pg);
    return err_set(e, ERR_STORAGE_UNAVAILABLE, "%s: %.*s", what, (int)strcspn(why, "\n"), why);
}

static PGresult *query(struct run *r, const char *sql, int n, const char *const *values, const char *what, struct err *e)
{
    PGresult *res = PQexecParams(r->pg, sql, n, NULL, values, NULL, NULL, 0);
    ExecStatusType s = PQresultStatus(res);
    if (s != PGRES_COMMAND_OK && s != PGRES_TUPLES_OK) {
        fail(r, what, e);
        PQclear(res);
        return NULL;
    }
    return res;
}

/* The line of a statement that the server objects to; 0 when it does not say. */
static int line_of(const PGresult *res, const char *sql)
{
    const char *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
    int line = 0;
    for (int left = position != NULL ? atoi(position) : 0; left > 0 && *sql != '\0'; sql++) {
        bool starts_character = ((unsigned char)*sql & 0xC0) != 0x80;
        left -= starts_character;
        line += line == 0 || sql[-1] == '\n';
    }
    return line;
}

/* Runs text that may hold several statements. */
static int command(struct run *r, const char *sql, const char *what, struct err *e)
{
    PGresult *res = PQexec(r->pg, sql);
    ExecStatusType s = PQresultStatus(res);
    int result = 0;
    if (s != PGRES_COMMAND_OK && s != PGRES_TUPLES_OK) {
        char at[64];
        int line = line_of(res, sql);
        snprintf(at, sizeof(at), line > 0 ? "%.40s:%d" : "%.60s", what, line);
        result = fail(r, at, e);
    }
    PQclear(res);
    return result;
}

static int connect_owner(struct run *r, const struct config *c, struct err *e)
{
    const char *keys[] = {"dbname", "user", "password", "application_name", "connect_timeout", NULL};
    const char *values[] = {c->database, "parley_owner", c->database_password, "parley-migrate", "5", NULL};
    r->pg = PQconnectdbParams(keys, values, 1);
    return PQstatus(r->pg) == CONNECTION_OK ? 0 : fail(r, "cannot connect as parley_owner", e);
}

/* Another migration that runs is waited for; after that nothing here waits long for a lock that the programs hold. */
static int take_lock(struct run *r, struct err *e)
{
    return command(r, "set client_min_messages = warning; set lock_timeout = 0; " MIGRATE_LOCK "; set lock_timeout = '5s'",
                   "cannot take the migration lock", e);
}

static int make_table(struct run *r, struct err *e)
{
    return command(r,
                   "create table if not exists schema_migrations (version int primary key, name text not null, sha256 text not null,"
                   " applied_at timestamptz not null default now());"
                   "grant select on schema_migrations to parley_api, parley_gateway, parley_archiver",
                   "cannot prepare schema_migrations (was migrations/roles.sql run?)", e);
}

/* 1 there is the table, 0 nothing was ever applied, -1. */
static int find_table(struct run *r, struct err *e)
{
    PGresult *res = query(r, "select to_regclass('schema_migrations') is not null", 0, NULL, "cannot look for schema_migrations", e);
    if (res == NULL) {
        return -1;
    }
    int result = *PQgetvalue(res, 0, 0) == 't';
    PQclear(res);
    return result;
}

static int compare_row(const struct run *r, int i, const PGresult *res, struct err *e)
{
    int version = atoi(PQgetvalue(res, i, 0));
    const char *name = PQgetvalue(res, i, 1);
    if (i >= r->known_count) {
        return err_set(e, ERR_VALIDATION_FAILED,
                       "the database has migration %.60s, which this parley-migrate does not know: use the newer release", name);
    }
    if (version != r->known[i].version) {
        return err_set(e, ERR_VALIDATION_FAILED, "schema_migrations holds %.60s where %.60s is due: migrations were applied out of order",
                       name, r->known[i].name);
    }
    if (strcmp(PQgetvalue(res, i, 2), r->known[i].sha256) != 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "%.60s was changed after it had been applied: restore the shipped file", r->known[i].name);
    }
    return 0;
}

/* What was applied must be a prefix of what we hold, byte for byte. */
static int compare_applied(struct run *r, struct err *e)
{
    PGresult *res =
        query(r, "select version, name, sha256 from schema_migrations order by version", 0, NULL, "cannot read schema_migrations", e);
    if (res == NULL) {
        return -1;
    }
    int result = 0;
    for (int i = 0; i < PQntuples(res) && result == 0; i++) {
        result = compare_row(r, i, res, e);
    }
    r->applied = PQntuples(res);
    PQclear(res);
    return result;
}

static int record(struct run *r, const struct migration *m, struct err *e)
{
    char version[12];
    snprintf(version, sizeof(version), "%d", m->version);
    const char *values[] = {version, m->name, m->sha256};
    PGresult *res = query(r, "insert into schema_migrations (version, name, sha256) values ($1::int, $2, $3)", 3, values, m->name, e);
    PQclear(res);
    return res != NULL ? 0 : -1;
}

static int apply(struct run *r, const struct migration *m, struct err *e)
{
    bool alone = strncmp(m->file->data, "-- migrate: no-transaction", 26) == 0;
    if (!alone && command(r, "begin", m->name, e) < 0) {
        return -1;
    }
    if (command(r, m->file->data, m->name, e) < 0 || record(r, m, e) < 0) {
        PQclear(PQexec(r->pg, "rollback")); /* no effect outside a transaction; the connection is given up in any case */
        return -1;
    }
    return alone ? 0 : command(r, "commit", m->name, e);
}

static int check_numbers(const struct run *r, struct err *e)
{
    for (int i = 0; i < r->known_count; i++) {
        if (r->known[i].version != i + 1) {
            return err_set(e, ERR_INTERNAL, "%s is out of order: migrations are numbered without a gap", r->known[i].name);
        }
    }
    return 0;
}

/* --dry-run and --status: reads only. */
static int show(struct run *r, bool all, FILE *out, struct err *e)
{
    int there = find_table(r, e);
    if (there < 0 || (there == 1 && compare_applied(r, e) < 0)) {
        return -1;
    }
    for (int i = all ? 0 : r->applied; i < r->known_count; i++) {
        fprintf(out, "%-8s %s %.12s\n", i < r->applied ? "applied" : "pending", r->known[i].name, r->known[i].sha256);
    }
    if (r->applied == r->known_count) {
        fprintf(out, "the schema is current (version %d)\n", r->known_count);
    }
    return 0;
}

static int bring_up(struct run *r, FILE *out, struct err *e)
{
    if (take_lock(r, e) < 0 || make_table(r, e) < 0 || compare_applied(r, e) < 0) {
        return -1;
    }
    for (int i = r->applied; i < r->known_count; i++) {
        if (apply(r, &r->known[i], e) < 0) {
            return -1;
        }
        fprintf(out, "applied  %s\n", r->known[i].name);
    }
    fprintf(out, "the schema is current (version %d)\n", r->known_count);
    return 0;
}

int migrate_run(const struct config *c, enum migrate_mode mode, FILE *out, struct err *e)
{
    struct run r = {.arena = arena_new("migrate")};
    find_embedded(&r);
    int result = check_numbers(&r, e);
    if (result == 0) {
        result = connect_owner(&r, c, e);
    }
    if (result == 0) {
        result = mode == MIGRATE_UP ? bring_up(&r, out, e) : show(&r, mode == MIGRATE_STATUS, out, e);
    }
    PQfinish(r.pg);
    arena_free(&r.arena);
    return result;
}
