/* The group map against a real Postgres and a real Redis (which is flushed). */
#include "storage/groupmap.h"
#include "storage/redis-private.h"
#include "storage/redis.h"
#include "tests/storage/storage_test.h"

static int groupmap_setup(void **state)
{
    int r = storage_setup(state);
    redis_start(&config);
    return r;
}

static void redis_do(const char *name, struct rkey key, const char *x, const char *y)
{
    redisReply *reply;
    struct redis_cmd *c = redis_cmd(arena, name);
    if (key.s[0] != '\0') {
        redis_key(c, key);
    }
    if (x != NULL) {
        redis_text(c, x);
    }
    if (y != NULL) {
        redis_text(c, y);
    }
    OK(redis_run1(arena, c, &reply, &error));
}

static int64_t stored_version(struct tenant *t, const struct conv_id *conv)
{
    redisReply *reply;
    struct redis_cmd *c = redis_cmd(arena, "HGET");
    redis_key(c, key_members(t, conv));
    redis_text(c, "#version");
    OK(redis_run1(arena, c, &reply, &error));
    return reply_number(reply, -1);
}

static int is_member(struct tenant *t, const struct conv_id *conv, const char *who, struct groupmap_member *m_r)
{
    struct user_id id = user(who);
    int r = groupmap_member(t, arena, conv, &id, m_r, &error);
    OK(r);
    return r;
}

static int count_members(struct tenant *t, const struct conv_id *conv)
{
    struct user_id *users;
    int count;
    OK(groupmap_members(t, arena, conv, &users, &count, &error));
    return count;
}

static struct conv_id group_of_three(struct tenant *t)
{
    const char *others[] = {"bob", "carol"};
    const char *all[] = {"alice", "bob", "carol", "dave"};
    for (int i = 0; i < 4; i++) {
        make_user(t, all[i]);
    }
    redis_do("FLUSHALL", (struct rkey){""}, NULL, NULL);
    return make_group(t, "alice", 2, others);
}

static void test_filled_on_a_miss(void **state)
{
    (void)state;
    struct tenant *t = make_app("filled");
    struct conv_id conv = group_of_three(t), none = conv_id_new_group();
    struct groupmap_member m;
    assert_int_equal(stored_version(t, &conv), -1);
    assert_int_equal(is_member(t, &conv, "bob", &m), 1);
    assert_string_equal(m.role, "member");
    assert_true(m.perms & PERM_SEND);
    assert_true(stored_version(t, &conv) > 0);
    struct groupmap_member again; /* from Redis now */
    assert_int_equal(is_member(t, &conv, "bob", &again), 1);
    assert_string_equal(again.role, m.role);
    assert_int_equal(again.perms, m.perms);
    assert_int_equal(again.joined_seq, m.joined_seq);
    assert_int_equal(is_member(t, &conv, "dave", &m), 0);
    assert_int_equal(count_members(t, &conv), 3);
    assert_int_equal(is_member(t, &none, "bob", &m), 0);
    assert_int_equal(count_members(t, &none), 0);
}

static void test_another_app(void **state)
{
    (void)state;
    struct tenant *t = make_app("mine"), *other = make_app("other");
    struct conv_id conv = group_of_three(t);
    struct groupmap_member m;
    assert_int_equal(is_member(t, &conv, "bob", &m), 1);
    assert_int_equal(is_member(other, &conv, "bob", &m), 0);
    assert_int_equal(count_members(other, &conv), 0);
}

static void test_changes(void **state)
{
    (void)state;
    struct tenant *t = make_app("changes");
    struct conv_id conv = group_of_three(t);
    struct conversation c;
    struct groupmap_member m;
    assert_int_equal(is_member(t, &conv, "carol", &m), 1);
    int64_t old = stored_version(t, &conv);
    assert_int_equal(change(t, &conv, ENTRY_MEMBER_LEFT, "alice", "{\"user_id\":\"carol\"}"), APPEND_WRITTEN);
    OK(groups_get(t, arena, &conv, &c, &error));
    groupmap_changed(t, &conv, c.members_seq);
    assert_int_equal(stored_version(t, &conv), -1);
    assert_int_equal(is_member(t, &conv, "carol", &m), 0);
    assert_int_equal(stored_version(t, &conv), c.members_seq);
    assert_int_equal(count_members(t, &conv), 2);
    groupmap_changed(t, &conv, old); /* heard late: a newer map stays */
    assert_int_equal(stored_version(t, &conv), c.members_seq);
    groupmap_changed(t, &conv, c.members_seq + 1); /* a filler that read before this change may not write */
    assert_int_equal(is_member(t, &conv, "bob", &m), 1);
    assert_int_equal(stored_version(t, &conv), -1);
}

/* A map that missed a change can refuse no one: Postgres is asked. */
static void test_stale_map_does_not_refuse(void **state)
{
    (void)state;
    struct tenant *t = make_app("stale");
    struct conv_id conv = group_of_three(t);
    struct groupmap_member m;
    assert_int_equal(count_members(t, &conv), 3);
    assert_int_equal(change(t, &conv, ENTRY_MEMBER_JOINED, "alice", "{\"members\":[{\"user_id\":\"dave\",\"role\":\"member\"}]}"),
                     APPEND_WRITTEN);
    assert_int_equal(is_member(t, &conv, "dave", &m), 1);
}

static void test_junk(void **state)
{
    (void)state;
    struct tenant *t = make_app("junk");
    struct conv_id conv = group_of_three(t);
    struct groupmap_member m;
    redis_do("SET", key_members(t, &conv), "junk", NULL);
    redis_do("LPUSH", key_floor(t, &conv), "junk", NULL);
    assert_int_equal(is_member(t, &conv, "bob", &m), 1);
    assert_true(stored_version(t, &conv) > 0);
    redis_do("SET", key_members(t, &conv), "junk", NULL);
    assert_int_equal(count_members(t, &conv), 3);
    redis_do("SET", key_members(t, &conv), "junk", NULL);
    groupmap_changed(t, &conv, 2);
    redis_do("DEL", key_members(t, &conv), NULL, NULL);
    redis_do("HSET", key_members(t, &conv), "bob", "what is this");
    redis_do("HSET", key_members(t, &conv), "#version", "1");
    assert_int_equal(is_member(t, &conv, "bob", &m), 1);
    assert_string_equal(m.role, "member");
}

static void test_redis_away(void **state)
{
    (void)state;
    struct tenant *t = make_app("away");
    struct conv_id conv = group_of_three(t);
    struct groupmap_member m;
    struct conversation c;
    assert_int_equal(count_members(t, &conv), 3); /* a map is there */
    struct config nowhere = config;
    nowhere.redis = "/nonexistent/redis.sock";
    redis_thread_end();
    redis_start(&nowhere);
    assert_int_equal(is_member(t, &conv, "bob", &m), 1);
    assert_int_equal(is_member(t, &conv, "dave", &m), 0);
    assert_int_equal(count_members(t, &conv), 3);
    assert_int_equal(change(t, &conv, ENTRY_MEMBER_LEFT, "alice", "{\"user_id\":\"bob\"}"), APPEND_WRITTEN);
    OK(groups_get(t, arena, &conv, &c, &error));
    groupmap_changed(t, &conv, c.members_seq);
    redis_start(&config); /* back, with the map of before: the change has been kept for it */
    assert_int_equal(is_member(t, &conv, "bob", &m), 0);
    assert_int_equal(stored_version(t, &conv), c.members_seq);
    assert_int_equal(count_members(t, &conv), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filled_on_a_miss),          cmocka_unit_test(test_another_app), cmocka_unit_test(test_changes),
        cmocka_unit_test(test_stale_map_does_not_refuse), cmocka_unit_test(test_junk),        cmocka_unit_test(test_redis_away),
    };
    return cmocka_run_group_tests_name("storage: group map", tests, groupmap_setup, storage_teardown);
}
