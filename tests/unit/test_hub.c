/* The hub and what it is made of: hash table, runs of acknowledgements, seats and early entries. */
#include "tests/unit/unit.h"

#include "realtime/hub.c"
#include "realtime/runs.c"
#include "realtime/table.c"

#include "core/tenant-private.h"

void loop_timer_stop(struct loop_timer *t)
{
    (void)t;
}

/* ---- table ---- */

struct thing {
    uint64_t key;
};

static bool same_thing(const void *item, const void *key)
{
    return ((const struct thing *)item)->key == *(const uint64_t *)key;
}

static uint64_t hash_thing(uint64_t key)
{
    return table_hash(&key, sizeof(key), 0);
}

static void table_keeps_what_it_has(void **state)
{
    (void)state;
    enum { N = 5000 };
    static struct thing things[N];
    static bool in[N];
    struct table t = {.same = same_thing};
    size_t count = 0;
    srandom(7);
    for (int round = 0; round < 200000; round++) {
        uint64_t k = (uint64_t)random() % N;
        things[k].key = k;
        struct thing *found = table_find(&t, hash_thing(k), &k);
        assert_ptr_equal(found, in[k] ? &things[k] : NULL);
        if (in[k]) {
            assert_ptr_equal(table_take(&t, hash_thing(k), &k), &things[k]);
            count--;
        } else {
            table_put(&t, hash_thing(k), &things[k]);
            count++;
        }
        in[k] = !in[k];
        assert_int_equal(t.count, count);
    }
    size_t at = 0, seen = 0;
    for (struct thing *x = table_next(&t, &at); x != NULL; x = table_next(&t, &at)) {
        assert_true(in[x->key]);
        seen++;
    }
    assert_int_equal(seen, count);
    table_free(&t);
}

/* All items in one place: the longest probes there can be. */
static void table_with_equal_hashes(void **state)
{
    (void)state;
    static struct thing things[100];
    struct table t = {.same = same_thing};
    for (uint64_t k = 0; k < 100; k++) {
        things[k].key = k;
        table_put(&t, 0xffffffff, &things[k]);
    }
    for (uint64_t k = 0; k < 100; k += 2) {
        assert_ptr_equal(table_take(&t, 0xffffffff, &k), &things[k]);
    }
    for (uint64_t k = 0; k < 100; k++) {
        assert_ptr_equal(table_find(&t, 0xffffffff, &k), k % 2 ? &things[k] : NULL);
    }
    table_free(&t);
}

/* ---- runs ---- */

static void runs_never_pass_what_is_missing(void **state)
{
    (void)state;
    struct runs r = {.upto = 10};
    assert_true(runs_add(&r, 11));
    assert_false(runs_add(&r, 13));
    assert_false(runs_add(&r, 14));
    assert_false(runs_add(&r, 13));
    assert_false(runs_add(&r, 5));
    assert_int_equal(r.upto, 11);
    assert_true(runs_add(&r, 12));
    assert_int_equal(r.upto, 14);
    assert_false(runs_raise(&r, 14));
    assert_true(runs_raise(&r, 20));
    assert_int_equal(r.upto, 20);
    runs_free(&r);
}

static void runs_count_what_is_noted_once_something_behind_is_acknowledged(void **state)
{
    (void)state;
    struct runs r = {.upto = 1};
    runs_note(&r, 2);
    assert_int_equal(r.upto, 1);
    runs_note(&r, 4);
    assert_true(runs_add(&r, 3));
    assert_int_equal(r.upto, 3);
    assert_true(runs_add(&r, 5));
    assert_int_equal(r.upto, 5);
    runs_note(&r, 6);
    runs_note(&r, 7);
    assert_int_equal(r.upto, 5);
    assert_true(runs_add(&r, 9));
    assert_int_equal(r.upto, 7);
    assert_true(runs_add(&r, 8));
    assert_int_equal(r.upto, 9);
    runs_free(&r);
}

/* Against a plain array of flags. */
static void runs_as_a_plain_list_says(void **state)
{
    (void)state;
    enum { N = 60 };
    srandom(11);
    for (int round = 0; round < 3000; round++) {
        struct runs r = {0};
        bool acked[N + 2] = {false}, noted[N + 2] = {false};
        int64_t top = 0, upto = 0;
        for (int step = 0; step < 80; step++) {
            int64_t seq = 1 + random() % N;
            if (random() % 4 == 0 && seq > top) { /* noted when it is sent, which is before anything behind it is acknowledged */
                runs_note(&r, seq);
                noted[seq] = true;
                continue;
            }
            runs_add(&r, seq);
            acked[seq] = true;
            top = seq > top ? seq : top;
            while (upto < top && (acked[upto + 1] || noted[upto + 1])) {
                upto++;
            }
            assert_int_equal(r.upto, upto);
        }
        runs_free(&r);
    }
}

static void runs_are_bounded(void **state)
{
    (void)state;
    struct runs r = {0};
    for (int64_t seq = 2; seq < 10000; seq += 2) {
        runs_add(&r, seq);
    }
    assert_true(r.count <= RUNS_MAX);
    assert_int_equal(r.upto, 0);
    assert_true(runs_raise(&r, 20000));
    assert_int_equal(r.count, 0);
    runs_free(&r);
}

/* ---- seats ---- */

static struct tenant *tenant;

static struct user_id user_named(const char *name)
{
    struct user_id id;
    assert_int_equal(user_id_parse(name, &id), 0);
    return id;
}

static void a_seat_starts_where_its_device_stands(void **state)
{
    (void)state;
    struct session one = {0}, two = {0};
    struct user_id ann = user_named("ann");
    struct hub_user *u = hub_user_get(tenant, &ann);
    struct conv_id id = conv_id_new_group();
    bool fresh;
    hub_session_add(u, &one);
    hub_session_add(u, &two);
    struct seat_start start = {.joined_seq = 3, .delivered_seq = 7, .last_seq = 9, .member_count = 2};
    struct seat *a = hub_seat_add(&one, &id, &start, &fresh);
    assert_true(fresh);
    assert_true(a->behind);
    assert_int_equal(seat_sent(a), 7);
    assert_int_equal(seat_limit(a), 9);
    assert_null(hub_seat_add(&one, &id, &start, &fresh));
    start.delivered_seq = 12; /* storage is ahead of what has been delivered here */
    struct seat *b = hub_seat_add(&two, &id, &start, &fresh);
    assert_false(fresh);
    assert_false(b->behind);
    assert_int_equal(seat_sent(b), 12);
    assert_ptr_equal(hub_seat_find(&two, &id), b);
    assert_non_null(hub_member_of(u, &id));
    assert_int_equal(u->member_count, 1);
    assert_false(hub_seat_remove(a));
    assert_true(hub_seat_remove(b));
    assert_null(hub_conv_find(tenant_app(tenant), &id));
    assert_null(hub_member_of(u, &id));
    hub_session_remove(&one);
    hub_session_remove(&two);
    hub_user_free(u);
    assert_null(hub_user_find(tenant_app(tenant), &ann));
    assert_null(hub_app_find(tenant_app(tenant)));
}

static void who_has_left_is_no_member_but_keeps_the_seat(void **state)
{
    (void)state;
    struct session s = {0};
    struct user_id ann = user_named("ann");
    struct hub_user *u = hub_user_get(tenant, &ann);
    struct conv_id id = conv_id_new_group();
    bool fresh;
    hub_session_add(u, &s);
    struct seat_start start = {.joined_seq = 1, .left_seq = 5, .last_seq = 9};
    struct seat *seat = hub_seat_add(&s, &id, &start, &fresh);
    assert_null(hub_member_of(u, &id));
    assert_int_equal(seat_limit(seat), 5);
    assert_non_null(hub_member_find(u, hub_conv_find(tenant_app(tenant), &id)));
    assert_true(hub_seat_remove(seat));
    hub_session_remove(&s);
    hub_user_free(u);
}

static void many_seats_come_and_go(void **state)
{
    (void)state;
    enum { USERS = 40, CONVS = 25 };
    static struct session sessions[USERS];
    struct conv_id ids[CONVS];
    bool fresh;
    int conversations = 0;
    srandom(3);
    for (int i = 0; i < CONVS; i++) {
        ids[i] = conv_id_new_group();
    }
    for (int i = 0; i < USERS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "user-%d", i);
        struct user_id id = user_named(name);
        hub_session_add(hub_user_get(tenant, &id), &sessions[i]);
    }
    for (int round = 0; round < 20000; round++) {
        struct session *s = &sessions[random() % USERS];
        const struct conv_id *id = &ids[random() % CONVS];
        struct seat *seat = hub_seat_find(s, id);
        if (seat != NULL) {
            conversations -= hub_seat_remove(seat);
        } else {
            struct seat_start start = {.last_seq = 1};
            assert_non_null(hub_seat_add(s, id, &start, &fresh));
            conversations += fresh;
        }
        assert_int_equal(hub_conv_count(), conversations);
    }
    for (int i = 0; i < USERS; i++) {
        struct hub_user *u = sessions[i].user;
        while (sessions[i].seats != NULL) {
            hub_seat_remove(sessions[i].seats);
        }
        assert_int_equal(u->member_count, 0);
        hub_session_remove(&sessions[i]);
        hub_user_free(u);
    }
    assert_int_equal(hub_conv_count(), 0);
}

static void early_entries_wait_in_order(void **state)
{
    (void)state;
    struct hub_conv c = {.last_seq = 5};
    static const int64_t came[] = {9, 7, 8, 7, 12};
    for (size_t i = 0; i < COUNT(came); i++) {
        struct entry en = {.seq = came[i], .kind = ENTRY_MESSAGE, .body = "{\"type\":\"text\"}", .body_len = 15};
        assert_true(hub_early_add(&c, &en) == (i != 3));
    }
    assert_null(hub_early_take(&c));
    c.last_seq = 7; /* read from storage meanwhile */
    for (int64_t seq = 8; seq <= 9; seq++) {
        struct early *x = hub_early_take(&c);
        assert_non_null(x);
        assert_int_equal(x->entry.seq, seq);
        assert_string_equal(x->entry.body, "{\"type\":\"text\"}");
        c.last_seq = seq;
        free(x);
    }
    assert_null(hub_early_take(&c));
    assert_int_equal(c.early_count, 1);
    for (int64_t seq = 100; seq < 100 + 2 * EARLY_MAX; seq++) {
        struct entry en = {.seq = seq, .body = "{}", .body_len = 2};
        (void)hub_early_add(&c, &en);
    }
    assert_int_equal(c.early_count, EARLY_MAX);
    while (c.early != NULL) {
        c.last_seq = c.early->entry.seq - 1;
        free(hub_early_take(&c));
    }
}

static int set_up(void **state)
{
    (void)state;
    struct app_id app = app_id_new();
    tenant = tenant_new(&app);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tenant_unref(tenant);
    table_free(&apps);
    table_free(&users);
    table_free(&convs);
    table_free(&members);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_keeps_what_it_has),
        cmocka_unit_test(table_with_equal_hashes),
        cmocka_unit_test(runs_never_pass_what_is_missing),
        cmocka_unit_test(runs_count_what_is_noted_once_something_behind_is_acknowledged),
        cmocka_unit_test(runs_as_a_plain_list_says),
        cmocka_unit_test(runs_are_bounded),
        cmocka_unit_test(a_seat_starts_where_its_device_stands),
        cmocka_unit_test(who_has_left_is_no_member_but_keeps_the_seat),
        cmocka_unit_test(many_seats_come_and_go),
        cmocka_unit_test(early_entries_wait_in_order),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
