#include "storage/leases.h"

#include "core/crypto.h"
#include "storage/pg-private.h"

void lease_node_id(char out[NODE_ID_MAX + 1])
{
    crypto_random_base62(out, 3);
    out[3] = '-';
    crypto_random_base62(out + 4, 12);
}

int lease_beat(struct arena *a, const char *node, const char *kind, const char *address, bool bus_lost, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, node);
    pg_text(&q, kind);
    pg_text(&q, address);
    pg_bool(&q, bus_lost);
    return pg_query_open(PG_LEASE_BEAT, &q, &rows, e) < 0 ? -1 : rows.n == 0;
}

int lease_list(struct arena *a, struct lease **l_r, int *count_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    if (pg_query_open(PG_LEASE_LIST, &q, &rows, e) < 0) {
        return -1;
    }
    struct lease *l = arena_array(a, (size_t)rows.n, sizeof(*l));
    for (int i = 0; i < rows.n; i++) {
        pg_get_id(&rows, i, 0, l[i].node, sizeof(l[i].node));
        pg_get_id(&rows, i, 1, l[i].kind, sizeof(l[i].kind));
        pg_get_id(&rows, i, 2, l[i].state, sizeof(l[i].state));
        pg_get_id(&rows, i, 3, l[i].address, sizeof(l[i].address));
        l[i].beat = pg_get_int(&rows, i, 4);
        l[i].bus_lost = pg_get_int(&rows, i, 5) != 0;
    }
    *l_r = l;
    *count_r = rows.n;
    return 0;
}

int lease_close(struct arena *a, const char *node, int64_t beat, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, node);
    pg_bigint(&q, beat);
    return pg_query_open(PG_LEASE_CLOSE, &q, &rows, e) < 0 ? -1 : rows.n > 0;
}
