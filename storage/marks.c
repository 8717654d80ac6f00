#include "storage/marks.h"

#include "storage/pg-private.h"

int marks_raise(const struct tenant *t, struct arena *a, const struct mark *m, int n, struct err *e)
{
    struct pg_array convs = pg_array(a, PG_TYPE_UUID, n), users = pg_array(a, PG_TYPE_TEXT, n), devices = pg_array(a, PG_TYPE_TEXT, n),
                    delivered = pg_array(a, PG_TYPE_INT8, n), read = pg_array(a, PG_TYPE_INT8, n);
    for (int i = 0; i < n; i++) {
        pg_add(&convs, m[i].conv.b, 16);
        pg_add_text(&users, m[i].user.s);
        pg_add_text(&devices, m[i].device.s);
        pg_add_int(&delivered, m[i].delivered_seq, 8);
        pg_add_int(&read, m[i].read_seq, 8);
    }
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_array_arg(&q, &convs);
    pg_array_arg(&q, &users);
    pg_array_arg(&q, &devices);
    pg_array_arg(&q, &delivered);
    pg_array_arg(&q, &read);
    return pg_query(t, PG_MARKS_RAISE, &q, &rows, e);
}

int marks_device_seen(const struct tenant *t, struct arena *a, const struct user_id *user, const struct device_id *device, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, user->s);
    pg_text(&q, device->s);
    return pg_query(t, PG_DEVICE_SEEN, &q, &rows, e);
}
