#include "storage/pg-private.h"

#include "core/clock.h"

#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>

#define EPOCH_MS INT64_C(946684800000) /* Postgres counts from 2000-01-01 */

static void add(struct pg_args *q, const void *p, size_t len, int format)
{
    assert(q->n < PG_ARGS_MAX && len <= INT32_MAX);
    q->n++;
    q->values[q->n] = p;
    q->lengths[q->n] = (int)len;
    q->formats[q->n] = format;
}

static void add_copy(struct pg_args *q, const void *p, size_t len)
{
    add(q, arena_dup(q->arena, p, len), len, 1);
}

void pg_text(struct pg_args *q, const char *s)
{
    add(q, s, s != NULL ? strlen(s) : 0, 0);
}

void pg_json(struct pg_args *q, const json_t *v)
{
    pg_text(q, v != NULL ? json_write(q->arena, v, NULL) : NULL);
}

void pg_uuid(struct pg_args *q, const uint8_t b[16])
{
    add_copy(q, b, 16);
}

void pg_bigint(struct pg_args *q, int64_t n)
{
    uint64_t wire = htobe64((uint64_t)n);
    add_copy(q, &wire, 8);
}

void pg_int(struct pg_args *q, int32_t n)
{
    uint32_t wire = htonl((uint32_t)n);
    add_copy(q, &wire, 4);
}

void pg_bool(struct pg_args *q, bool b)
{
    add(q, b ? "\1" : "\0", 1, 1);
}

void pg_bytea(struct pg_args *q, const void *p, size_t len)
{
    add(q, p, len, 1);
}

void pg_time(struct pg_args *q, int64_t wall_ms)
{
    if (wall_ms == 0) {
        add(q, NULL, 0, 1);
        return;
    }
    pg_bigint(q, (wall_ms - EPOCH_MS) * 1000);
}

static void append(struct pg_array *x, const void *p, size_t len)
{
    if (x->cap - x->len < len) {
        size_t cap = x->cap * 2 > x->len + len ? x->cap * 2 : x->len + len;
        char *data = arena_alloc(x->arena, cap);
        memcpy(data, x->data, x->len);
        x->data = data;
        x->cap = cap;
    }
    memcpy(x->data + x->len, p, len);
    x->len += len;
}

/* The wire form of an array: dimensions, has-nulls flag, element type, then size and lower bound of the one dimension; an empty array has none. */
struct pg_array pg_array(struct arena *a, enum pg_type type, int n)
{
    uint32_t head[5] = {htonl(n > 0 ? 1 : 0), htonl(1), htonl((uint32_t)type), htonl((uint32_t)n), htonl(1)};
    size_t size = n > 0 ? sizeof(head) : 3 * sizeof(head[0]);
    struct pg_array x = {.arena = a, .cap = size + (size_t)n * 20};
    x.data = arena_alloc(a, x.cap);
    append(&x, head, size);
    return x;
}

void pg_add(struct pg_array *x, const void *p, size_t len)
{
    assert(len <= INT32_MAX);
    uint32_t wire = htonl(p != NULL ? (uint32_t)len : UINT32_MAX);
    append(x, &wire, 4);
    if (p != NULL) {
        append(x, p, len);
    }
}

void pg_add_text(struct pg_array *x, const char *s)
{
    pg_add(x, s, s != NULL ? strlen(s) : 0);
}

void pg_add_int(struct pg_array *x, int64_t n, size_t size)
{
    uint64_t wire = htobe64((uint64_t)n);
    pg_add(x, (const char *)&wire + 8 - size, size);
}

void pg_array_arg(struct pg_args *q, const struct pg_array *x)
{
    assert(x->len <= INT32_MAX);
    add(q, x->data, x->len, 1);
}

bool pg_is_null(const struct pg_rows *r, int i, int c)
{
    return PQgetisnull(r->res, i, c) == 1;
}

const char *pg_get_text(const struct pg_rows *r, int i, int c)
{
    return pg_is_null(r, i, c) ? NULL : PQgetvalue(r->res, i, c); /* libpq ends every value with a NUL */
}

int64_t pg_get_int(const struct pg_rows *r, int i, int c)
{
    if (pg_is_null(r, i, c)) {
        return 0;
    }
    const unsigned char *p = (const unsigned char *)PQgetvalue(r->res, i, c);
    int len = PQgetlength(r->res, i, c);
    assert(len == 1 || len == 2 || len == 4 || len == 8);
    int64_t n = len == 1 ? p[0] : (signed char)p[0];
    for (int b = 1; b < len; b++) {
        n = (int64_t)((uint64_t)n << 8 | p[b]);
    }
    return n;
}

int64_t pg_get_ms(const struct pg_rows *r, int i, int c)
{
    return pg_is_null(r, i, c) ? 0 : pg_get_int(r, i, c) / 1000 + EPOCH_MS;
}

void pg_get_uuid(const struct pg_rows *r, int i, int c, uint8_t b_r[16])
{
    assert(PQgetlength(r->res, i, c) == 16);
    memcpy(b_r, PQgetvalue(r->res, i, c), 16);
}

const uint8_t *pg_get_bytea(const struct pg_rows *r, int i, int c, size_t *len_r)
{
    *len_r = (size_t)PQgetlength(r->res, i, c);
    return pg_is_null(r, i, c) ? NULL : (const uint8_t *)PQgetvalue(r->res, i, c);
}

void pg_get_id(const struct pg_rows *r, int i, int c, char *out, size_t size)
{
    size_t len = (size_t)PQgetlength(r->res, i, c);
    assert(len < size);
    memset(out, 0, size);
    memcpy(out, PQgetvalue(r->res, i, c), len);
}

json_t *pg_get_json(const struct pg_rows *r, int i, int c)
{
    struct err ignored;
    const char *text = pg_get_text(r, i, c);
    json_t *v = text != NULL ? json_read(r->arena, text, strlen(text), &ignored) : NULL;
    return v != NULL ? v : json_null();
}
