/* The log: each outcome of an append, visibility, order and gaplessness under threads, the price of a big group. */
#include "storage_test.h"

#include "core/metrics.h"
#include "storage/entries.h"

#include <pthread.h>
#include <unistd.h>

static void test_messages(void **state)
{
    (void)state;
    struct tenant *t = make_app("messages");
    const char *others[] = {"bob"};
    make_user(t, "alice");
    make_user(t, "bob");
    struct conv_id id = make_group(t, "alice", 1, others), none = conv_id_new_group();
    struct append first = row_of(t, &id, ENTRY_MESSAGE, "alice", "c1", "{\"type\":\"text\",\"text\":\"one\"}"), again = first;
    assert_int_equal(put(&first), APPEND_WRITTEN);
    assert_true(first.entry.seq == 2 && llabs(first.entry.created_ms - clock_wall_ms()) < 60000);
    again.entry.body = "{}";
    again.entry.body_len = 2;
    assert_int_equal(put(&again), APPEND_DUPLICATE);
    assert_true(again.entry.seq == 2 && again.entry.created_ms == first.entry.created_ms);
    assert_int_equal(say(t, &none, "alice", ""), APPEND_NOT_FOUND);
    assert_int_equal(say(t, &id, "mallory", ""), APPEND_NOT_A_MEMBER);
    assert_int_equal(say(t, &id, "", ""), APPEND_WRITTEN); /* an API key needs no membership */
    struct entry en;
    assert_int_equal(entries_get(t, arena, &id, &first.entry.mid, &en, &error), 1);
    assert_string_equal(en.client_msg_id, "c1");
    assert_memory_equal(en.body, first.entry.body, first.entry.body_len);
    assert_int_equal(en.body_len, first.entry.body_len);
    struct msg_id unknown = msg_id_new();
    assert_int_equal(entries_get(t, arena, &id, &unknown, &en, &error), 0);
    struct conv_id ids[] = {none, id};
    int64_t last[2];
    OK(entries_heads(t, arena, ids, 2, last, &error));
    assert_true(last[0] == -1 && last[1] == 3);
}

static void test_mute_freeze_version(void **state)
{
    (void)state;
    struct tenant *t = make_app("mute");
    const char *others[] = {"bob"};
    make_user(t, "alice");
    make_user(t, "bob");
    struct conv_id id = make_group(t, "alice", 1, others);
    PGconn *pg = raw_link("parley_api", "PARLEY_DATABASE_PASSWORD_FILE");
    char sql[300], app[UUID_TEXT_MAX];
    snprintf(sql, sizeof(sql),
             "begin; select set_config('parley.app', '%s', true); update members set muted_until = now() + interval '1 hour' where user_id "
             "= 'bob'; commit",
             uuid_print(tenant_app(t)->b, app));
    assert_string_equal(raw_state(pg, sql), "");
    PQfinish(pg);
    assert_int_equal(say(t, &id, "bob", ""), APPEND_MUTED);
    struct append row = row_of(t, &id, ENTRY_GROUP_UPDATED, "alice", "", "{\"name\":\"new\",\"frozen\":true,\"metadata\":{\"k\":1}}");
    row.expected_version = 7;
    assert_int_equal(put(&row), APPEND_VERSION);
    row.expected_version = 1;
    assert_int_equal(put(&row), APPEND_WRITTEN);
    struct conversation c;
    assert_int_equal(groups_get(t, arena, &id, &c, &error), 1);
    assert_true(c.frozen && c.version == 2 && json_int(c.metadata, "k", 0) == 1);
    assert_string_equal(c.name, "new");
    assert_int_equal(say(t, &id, "alice", ""), APPEND_FROZEN);
    assert_int_equal(say(t, &id, "", ""), APPEND_FROZEN);
    assert_int_equal(change(t, &id, ENTRY_GROUP_UPDATED, "bob", "{\"frozen\":false}"), APPEND_ROLE);
    assert_int_equal(change(t, &id, ENTRY_GROUP_UPDATED, "alice", "{\"frozen\":false}"), APPEND_WRITTEN);
    assert_int_equal(say(t, &id, "alice", ""), APPEND_WRITTEN);
    assert_int_equal(change(t, &id, ENTRY_GROUP_DELETED, "alice", "{}"), APPEND_WRITTEN);
    assert_int_equal(say(t, &id, "alice", ""), APPEND_NOT_FOUND);
    assert_int_equal(say(t, &id, "", ""), APPEND_NOT_FOUND);
    assert_int_equal(change(t, &id, ENTRY_GROUP_UPDATED, "", "{\"name\":\"x\"}"), APPEND_NOT_FOUND);
}

static void test_members(void **state)
{
    (void)state;
    struct tenant *t = make_app("members");
    const char *others[] = {"bob"};
    const char *names[] = {"alice", "bob", "carol", "dave"};
    for (int i = 0; i < 4; i++) {
        make_user(t, names[i]);
    }
    struct conv_id id = make_group(t, "alice", 1, others);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_JOINED, "bob", "{\"members\":[{\"user_id\":\"carol\",\"role\":\"member\"}]}"),
                     APPEND_ROLE);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_JOINED, "alice", "{\"members\":[{\"user_id\":\"ghost\",\"role\":\"member\"}]}"),
                     APPEND_UNKNOWN_USER);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_JOINED, "alice", "{\"members\":[{\"user_id\":\"carol\",\"role\":\"king\"}]}"),
                     APPEND_UNKNOWN_ROLE);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_JOINED, "alice", "{\"members\":[{\"user_id\":\"bob\",\"role\":\"member\"}]}"),
                     APPEND_UNCHANGED);
    struct append row = row_of(t, &id, ENTRY_MEMBER_JOINED, "alice", "", "{\"members\":[{\"user_id\":\"carol\",\"role\":\"member\"}]}");
    row.member_limit = 2;
    assert_int_equal(put(&row), APPEND_MEMBER_LIMIT);
    assert_int_equal(say(t, &id, "alice", ""), APPEND_WRITTEN); /* seq 2 */
    row.member_limit = 3;
    assert_int_equal(put(&row), APPEND_WRITTEN); /* seq 3 */
    struct member m;
    struct user_id carol = user("carol");
    assert_int_equal(groups_member(t, arena, &id, &carol, &m, &error), 1);
    assert_true(m.joined_seq == 2 && m.left_seq == 0 && m.perms == PERM_SEND);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_LEFT, "bob", "{\"user_id\":\"carol\"}"), APPEND_ROLE);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_LEFT, "carol", "{\"user_id\":\"carol\"}"), APPEND_WRITTEN); /* seq 4 */
    assert_int_equal(change(t, &id, ENTRY_MEMBER_LEFT, "alice", "{\"user_id\":\"carol\"}"), APPEND_NOT_FOUND);
    assert_int_equal(say(t, &id, "carol", ""), APPEND_NOT_A_MEMBER);
    assert_int_equal(groups_member(t, arena, &id, &carol, &m, &error), 1);
    assert_true(m.left_seq == 4);                  /* sees 3 and 4 and nothing else */
    assert_int_equal(put(&row), APPEND_DUPLICATE); /* a retry adds nobody */
    assert_int_equal(change(t, &id, ENTRY_MEMBER_JOINED, "",
                            "{\"members\":[{\"user_id\":\"carol\",\"role\":\"member\"},{\"user_id\":\"carol\",\"role\":\"member\"}]}"),
                     APPEND_WRITTEN); /* seq 5, named twice */
    assert_int_equal(groups_member(t, arena, &id, &carol, &m, &error), 1);
    assert_true(m.joined_seq == 4 && m.left_seq == 0);
    struct conversation c;
    assert_int_equal(groups_get(t, arena, &id, &c, &error), 1);
    assert_true(c.member_count == 3 && c.members_seq == 5 && c.last_seq == 5 && c.version == 4);
}

static void test_owners(void **state)
{
    (void)state;
    struct tenant *t = make_app("owners");
    const char *others[] = {"bob"};
    make_user(t, "alice");
    make_user(t, "bob");
    struct conv_id id = make_group(t, "alice", 1, others), keyed = make_group(t, "", 1, others);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_LEFT, "alice", "{\"user_id\":\"alice\"}"), APPEND_LAST_OWNER);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_ROLE_CHANGED, "", "{\"user_id\":\"alice\",\"role\":\"member\"}"), APPEND_LAST_OWNER);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_ROLE_CHANGED, "alice", "{\"user_id\":\"bob\",\"role\":\"admin\"}"), APPEND_WRITTEN);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_ROLE_CHANGED, "alice", "{\"user_id\":\"bob\",\"role\":\"admin\"}"), APPEND_UNCHANGED);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_ROLE_CHANGED, "bob", "{\"user_id\":\"bob\",\"role\":\"owner\"}"), APPEND_ROLE);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_JOINED, "bob", "{\"members\":[{\"user_id\":\"bob\",\"role\":\"owner\"}]}"), APPEND_ROLE);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_LEFT, "bob", "{\"user_id\":\"alice\"}"), APPEND_ROLE);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_ROLE_CHANGED, "alice", "{\"user_id\":\"bob\",\"role\":\"owner\"}"), APPEND_WRITTEN);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_LEFT, "alice", "{\"user_id\":\"alice\"}"), APPEND_WRITTEN);
    assert_int_equal(change(t, &id, ENTRY_MEMBER_LEFT, "bob", "{\"user_id\":\"bob\"}"), APPEND_WRITTEN); /* the last member may go */
    assert_int_equal(change(t, &keyed, ENTRY_MEMBER_LEFT, "bob", "{\"user_id\":\"bob\"}"), APPEND_WRITTEN);
}

static void test_create(void **state)
{
    (void)state;
    struct tenant *t = make_app("create");
    make_user(t, "alice");
    struct conv_id id = conv_id_new_group(), other = conv_id_new_group();
    struct conversation c;
    const char *body =
        "{\"kind\":\"broadcast\",\"name\":\"n\",\"external_id\":\"x\",\"members\":[{\"user_id\":\"alice\",\"role\":\"owner\"}]}";
    assert_int_equal(change(t, &id, ENTRY_GROUP_CREATED, "alice", "{\"members\":[{\"user_id\":\"ghost\",\"role\":\"owner\"}]}"),
                     APPEND_UNKNOWN_USER);
    assert_int_equal(groups_get(t, arena, &id, &c, &error), 0); /* nothing is left of what was refused */
    struct append row = row_of(t, &id, ENTRY_GROUP_CREATED, "alice", "create-1", body), again = row;
    assert_int_equal(put(&row), APPEND_WRITTEN);
    assert_int_equal(put(&again), APPEND_DUPLICATE);
    assert_int_equal(groups_get(t, arena, &id, &c, &error), 1);
    assert_true(c.member_count == 1 && c.version == 1 && c.last_seq == 1);
    assert_string_equal(c.kind, "broadcast");
    assert_int_equal(change(t, &other, ENTRY_GROUP_CREATED, "alice", body), APPEND_EXISTS); /* external_id taken */
    assert_int_equal(change(t, &id, ENTRY_GROUP_CREATED, "alice", body), APPEND_EXISTS);
    assert_int_equal(change(t, &id, ENTRY_GROUP_DELETED, "alice", "{}"), APPEND_WRITTEN);
    assert_int_equal(change(t, &other, ENTRY_GROUP_CREATED, "alice", body), APPEND_WRITTEN); /* free again */
    struct conv_id empty = conv_id_new_group();
    assert_int_equal(change(t, &empty, ENTRY_GROUP_CREATED, "", "{\"members\":[]}"), APPEND_WRITTEN);
}

static void test_batch(void **state)
{
    (void)state;
    struct tenant *t = make_app("batch a"), *u = make_app("batch b");
    make_user(t, "alice");
    make_user(u, "alice");
    struct conv_id a = make_group(t, "alice", 0, NULL), b = make_group(u, "alice", 0, NULL);
    const char *bad = "{\"metadata\":{\"k\":\"\\u0000\"}}";
    struct append rows[] = {
        row_of(t, &a, ENTRY_MESSAGE, "alice", "1", "{\"n\":1}"), row_of(u, &b, ENTRY_MESSAGE, "alice", "1", "{\"n\":1}"),
        row_of(t, &a, ENTRY_MESSAGE, "alice", "1", "{\"n\":1}"), row_of(t, &a, ENTRY_MESSAGE, "mallory", "2", "{}"),
        row_of(t, &a, ENTRY_MESSAGE, "mallory", "2", "{}"),      row_of(t, &a, ENTRY_MESSAGE, "alice", "3", "{\"n\":3}"),
        row_of(u, &b, ENTRY_GROUP_UPDATED, "alice", "4", bad),   row_of(t, &b, ENTRY_MESSAGE, "", "5", "{}"),
    };
    int n = (int)(sizeof(rows) / sizeof(rows[0]));
    struct append *list[8];
    for (int i = 0; i < n; i++) {
        list[i] = &rows[i];
    }
    OK(outbox_append(list, n, false, &error));
    const enum append_status want[] = {APPEND_WRITTEN,      APPEND_WRITTEN, APPEND_DUPLICATE, APPEND_NOT_A_MEMBER,
                                       APPEND_NOT_A_MEMBER, APPEND_WRITTEN, APPEND_BAD_ROW,   APPEND_NOT_FOUND};
    for (int i = 0; i < n; i++) {
        assert_int_equal(rows[i].status, want[i]);
    }
    assert_true(rows[0].entry.seq == 2 && rows[2].entry.seq == 2 && rows[5].entry.seq == 3 && rows[1].entry.seq == 2);
    OK(outbox_append(list, 0, false, &error));
    assert_false(msg_id_equal(&rows[0].entry.mid, &rows[1].entry.mid)); /* equal in all but the app */
}

static void test_later(void **state)
{
    (void)state;
    struct tenant *t = make_app("later");
    make_user(t, "alice");
    struct conv_id id = make_group(t, "alice", 0, NULL), free_one = make_group(t, "alice", 0, NULL);
    PGconn *pg = raw_link("parley_writer", "PARLEY_WRITER_PASSWORD_FILE");
    char sql[200], conv[UUID_TEXT_MAX];
    snprintf(sql, sizeof(sql), "begin; select 1 from heads where conversation_id = '%s' for update", uuid_print(id.b, conv));
    assert_string_equal(raw_state(pg, sql), "");
    struct append rows[] = {row_of(t, &id, ENTRY_MESSAGE, "alice", "", "{}"), row_of(t, &free_one, ENTRY_MESSAGE, "alice", "", "{}")},
                  *list[] = {&rows[0], &rows[1]};
    OK(outbox_append(list, 2, false, &error));
    assert_true(rows[0].status == APPEND_LATER && rows[1].status == APPEND_WRITTEN);
    int64_t begin = clock_mono_ms();
    FAILS(ERR_STORAGE_UNAVAILABLE, outbox_append(list, 1, true, &error)); /* lock_timeout: certainly not stored */
    assert_true(clock_mono_ms() - begin < 6000);
    assert_string_equal(raw_state(pg, "rollback"), "");
    OK(outbox_append(list, 1, true, &error));
    assert_true(rows[0].status == APPEND_WRITTEN && rows[0].entry.seq == 2);
    PQfinish(pg);
}

static void test_paging(void **state)
{
    (void)state;
    struct tenant *t = make_app("paging");
    make_user(t, "alice");
    struct conv_id id = make_group(t, "alice", 0, NULL);
    struct append rows[99], *list[99];
    for (int i = 0; i < 99; i++) {
        rows[i] = row_of(t, &id, ENTRY_MESSAGE, "alice", "", "{\"text\":\"0123456789012345678901234567890123456789\"}");
        list[i] = &rows[i];
    }
    OK(outbox_append(list, 99, false, &error));
    struct entry *en;
    int n;
    OK(entries_after(t, arena, &id, 10, INT64_MAX, 20, 1 << 20, &en, &n, &error));
    assert_true(n == 20 && en[0].seq == 11 && en[19].seq == 30);
    OK(entries_after(t, arena, &id, 10, 12, 20, 1 << 20, &en, &n, &error));
    assert_true(n == 2 && en[1].seq == 12);
    OK(entries_after(t, arena, &id, 10, INT64_MAX, 20, 120, &en, &n, &error));
    assert_true(n == 3 && en[2].seq == 13); /* about 120 bytes: three of 51 */
    OK(entries_after(t, arena, &id, 10, INT64_MAX, 20, 0, &en, &n, &error));
    assert_int_equal(n, 1); /* at least one */
    OK(entries_before(t, arena, &id, INT64_MAX, 0, 20, 1 << 20, &en, &n, &error));
    assert_true(n == 20 && en[0].seq == 81 && en[19].seq == 100);
    OK(entries_before(t, arena, &id, 50, 45, 20, 1 << 20, &en, &n, &error));
    assert_true(n == 4 && en[0].seq == 46 && en[3].seq == 49);
    OK(entries_before(t, arena, &id, 50, 0, 20, 60, &en, &n, &error));
    assert_true(n == 2 && en[1].seq == 49);
    OK(entries_after(t, arena, &id, 100, INT64_MAX, 20, 60, &en, &n, &error));
    assert_int_equal(n, 0);
}

/* ---- eight threads on one conversation; every row is sent twice ---- */
#define THREADS 8
#define ROWS 150

struct worker {
    pthread_t thread;
    struct tenant *t;
    struct conv_id conv;
    int number, later;
    int64_t seqs[ROWS];
};

static void *work(void *p)
{
    struct worker *w = p;
    struct err e;
    for (int i = 0; i < ROWS; i += 5) {
        struct append rows[10], *list[10];
        for (int j = 0; j < 10; j++) {
            char client[32];
            struct user_id who = {.s = "alice"};
            snprintf(client, sizeof(client), "%d-%d", w->number, i + j % 5);
            outbox_row(w->t, &rows[j], &w->conv, ENTRY_MESSAGE, &who, client, "{}", 2);
            list[j] = &rows[j];
        }
        bool wait = i % 2 == 0;
        for (int attempt = 0; attempt < 2; attempt++) { /* the same batch again: a lost reply */
            do {
                if (outbox_append(list, 5 * (1 + i % 2), wait, &e) < 0) {
                    return (void *)"outbox_append failed";
                }
                w->later += rows[0].status == APPEND_LATER;
            } while (rows[0].status == APPEND_LATER);
            for (int j = 0; j < 5; j++) {
                bool expected = attempt == 0 ? rows[j].status == APPEND_WRITTEN
                                             : rows[j].status == APPEND_DUPLICATE && rows[j].entry.seq == w->seqs[i + j];
                if (!expected) {
                    return (void *)"unexpected outcome";
                }
                w->seqs[i + j] = rows[j].entry.seq;
            }
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static struct worker workers[THREADS];
    static bool seen[THREADS * ROWS + 2];
    struct tenant *t = make_app("threads");
    make_user(t, "alice");
    struct conv_id id = make_group(t, "alice", 0, NULL);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.t = t, .conv = id, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *why;
        assert_int_equal(pthread_join(workers[i].thread, &why), 0);
        if (why != NULL) {
            fail_msg("%s", (const char *)why);
        }
        for (int j = 0; j < ROWS; j++) {
            int64_t seq = workers[i].seqs[j];
            assert_true(seq >= 2 && seq <= THREADS * ROWS + 1 && !seen[seq]);
            assert_true(j == 0 || seq > workers[i].seqs[j - 1]);
            seen[seq] = true;
        }
    }
    int64_t last;
    OK(entries_heads(t, arena, &id, 1, &last, &error));
    assert_true(last == THREADS * ROWS + 1); /* no gap, no second row */
}

static void test_big_group(void **state)
{
    (void)state;
    struct tenant *t = make_app("big");
    struct conv_id id = conv_id_new_group();
    json_t *members = json_array();
    enum { MEMBERS = 10000, ROWS_ = 100 };
    static struct user_change c[500];
    static struct user u[500];
    static bool made[500];
    for (int i = 0; i < MEMBERS; i += 500) {
        for (int j = 0; j < 500; j++) {
            c[j] = (struct user_change){.name = "n"};
            snprintf(c[j].id.s, sizeof(c[j].id.s), "u%d", i + j);
            json_array_append_new(members, json_pack("{s:s, s:s}", "user_id", c[j].id.s, "role", "member"));
        }
        OK(users_upsert(t, arena, c, 500, u, made, &error));
    }
    json_t *body = json_own(arena, json_pack("{s:o}", "members", members));
    assert_int_equal(change(t, &id, ENTRY_GROUP_CREATED, "", json_write(arena, body, NULL)), APPEND_WRITTEN);
    static struct append rows[ROWS_];
    struct append *list[ROWS_];
    int64_t best = INT64_MAX;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < ROWS_; i++) {
            char who[16];
            snprintf(who, sizeof(who), "u%d", i * 97 % MEMBERS);
            rows[i] = row_of(t, &id, ENTRY_MESSAGE, who, "", "{\"type\":\"text\",\"text\":\"hello\"}");
            list[i] = &rows[i];
        }
        int64_t begin = clock_mono_us();
        OK(outbox_append(list, ROWS_, false, &error));
        int64_t took = clock_mono_us() - begin;
        best = took < best ? took : best;
        assert_int_equal(rows[ROWS_ - 1].status, APPEND_WRITTEN);
    }
    /* 100 rows read 100 members, not the group: about 6 ms; the whole group each time would be some 140 ms. */
    print_message("100 rows into a group of 10,000: %.1f ms\n", (double)best / 1000);
    assert_true(best < 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages), cmocka_unit_test(test_mute_freeze_version),
        cmocka_unit_test(test_members),  cmocka_unit_test(test_owners),
        cmocka_unit_test(test_create),   cmocka_unit_test(test_batch),
        cmocka_unit_test(test_later),    cmocka_unit_test(test_paging),
        cmocka_unit_test(test_threads),  cmocka_unit_test(test_big_group),
    };
    return cmocka_run_group_tests_name("storage: the log", tests, storage_setup, storage_teardown);
}
