/* pg-private.h: running the statements of statements.h. For the noun files of storage/.
 *
 *     struct pg_args q = {.arena = a};
 *     pg_user(&q, id);
 *     if (pg_query(t, PG_USERS_GET, &q, &rows, e) < 0) { return -1; }
 *
 * Arguments are added in the order of the statement's $2, $3, … ($1 is the app, bound here) or, without a tenant, $1, $2, …. Results are in binary form
 * and live as long as the arena; a reader asserts the column's size. NULL reads as 0, false, "" or NULL, as each reader says. */
#ifndef STORAGE_PG_PRIVATE_H
#define STORAGE_PG_PRIVATE_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"
#include "storage/platform.h"
#include "storage/statements.h"

#include <libpq-fe.h>

enum pg_scope { PG_TENANT, PG_PLATFORM, PG_WRITER, PG_OPEN };
enum pg_effect { PG_READ, PG_WRITE };

enum pg_statement {
#define S(name, scope, effect, sql) PG_##name,
    STATEMENTS(S)
#undef S
        PG_STATEMENT_COUNT
};
struct pg_statement_text {
    const char *name;
    enum pg_scope scope;
    enum pg_effect effect;
    const char *sql;
};
extern const struct pg_statement_text pg_statements[PG_STATEMENT_COUNT];

/* ---- arguments ---- */
#define PG_ARGS_MAX 20
struct pg_args {
    struct arena *arena;
    int n;
    const char *values[PG_ARGS_MAX + 1]; /* [0] is kept free for the app */
    int lengths[PG_ARGS_MAX + 1];
    int formats[PG_ARGS_MAX + 1];
};
void pg_text(struct pg_args *q, const char *s);   /* NULL = null; s is kept by reference */
void pg_json(struct pg_args *q, const json_t *v); /* jsonb; NULL = null, JSON null is the value */
void pg_uuid(struct pg_args *q, const uint8_t b[16]);
void pg_bigint(struct pg_args *q, int64_t n);
void pg_int(struct pg_args *q, int32_t n);
void pg_bool(struct pg_args *q, bool b);
void pg_bytea(struct pg_args *q, const void *p, size_t len); /* p NULL = null; kept by reference */
void pg_time(struct pg_args *q, int64_t wall_ms);            /* timestamptz; 0 = null */
/* Arrays in binary form. pg_array_…(): begins one of n elements, then n elements of that type, in order. */
enum pg_type {
    PG_TYPE_BOOL = 16,
    PG_TYPE_BYTEA = 17,
    PG_TYPE_INT8 = 20,
    PG_TYPE_INT2 = 21,
    PG_TYPE_INT4 = 23,
    PG_TYPE_TEXT = 25,
    PG_TYPE_UUID = 2950
};
struct pg_array {
    char *data;
    size_t len, cap;
    struct arena *arena;
};
struct pg_array pg_array(struct arena *a, enum pg_type type, int n);
void pg_add(struct pg_array *x, const void *p, size_t len); /* text, bytea, uuid; p NULL = null */
void pg_add_text(struct pg_array *x, const char *s);
void pg_add_int(struct pg_array *x, int64_t n, size_t size); /* size 1 (bool), 2, 4, 8 */
void pg_array_arg(struct pg_args *q, const struct pg_array *x);

/* ---- calls: 0, or -1 and *e ---- */
struct pg_rows {
    PGresult *res;
    struct arena *arena;
    int n;
};
int pg_query(const struct tenant *t, enum pg_statement s, struct pg_args *q, struct pg_rows *rows_r, struct err *e)
    __attribute__((warn_unused_result));
int pg_query_app(const struct app_id *app, enum pg_statement s, struct pg_args *q, struct pg_rows *rows_r, struct err *e)
    __attribute__((warn_unused_result));
int pg_query_platform(const struct platform *p, enum pg_statement s, struct pg_args *q, struct pg_rows *rows_r, struct err *e)
    __attribute__((warn_unused_result));
int pg_query_open(enum pg_statement s, struct pg_args *q, struct pg_rows *rows_r, struct err *e)
    __attribute__((warn_unused_result)); /* PG_OPEN, PG_WRITER */

/* What the server said about this thread's last failed call: "" when it said nothing (no link, no answer). */
struct pg_failure {
    char sqlstate[6];
    char constraint[64];
};
const struct pg_failure *pg_failure(void);

/* ---- readers of row i, column c ---- */
bool pg_is_null(const struct pg_rows *r, int i, int c);
const char *pg_get_text(const struct pg_rows *r, int i, int c); /* NULL when null; lives as long as the arena */
int64_t pg_get_int(const struct pg_rows *r, int i, int c);      /* int2, int4, int8, bool */
int64_t pg_get_ms(const struct pg_rows *r, int i, int c);       /* timestamptz; 0 when null */
void pg_get_uuid(const struct pg_rows *r, int i, int c, uint8_t b_r[16]);
const uint8_t *pg_get_bytea(const struct pg_rows *r, int i, int c, size_t *len_r);
void pg_get_id(const struct pg_rows *r, int i, int c, char *out, size_t size); /* text of at most size - 1 bytes; "" when null */
json_t *pg_get_json(const struct pg_rows *r, int i, int c);                    /* of a column cast to text; JSON null when null */

/* The columns SQL_ENTRY from c on (storage/entries.c). */
struct entry;
void entry_read(const struct pg_rows *r, int i, int c, const struct conv_id *conv, struct entry *en_r);

#endif
