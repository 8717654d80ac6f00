/* The request target: splitting, decoding, matching, queries. */
#include "tests/unit/unit.h"
#include "tests/unit/fixture.h"

#include "api/target.c"

static struct err e;

static void split(void **state)
{
    const char *path, *query;
    (void)state;
    assert_int_equal(target_split(arena, "/v1/users?limit=2?x", &path, &query, &e), 0);
    assert_string_equal(path, "/v1/users");
    assert_string_equal(query, "limit=2?x");
    assert_int_equal(target_split(arena, "/", &path, &query, &e), 0);
    assert_null(query);
    static const char *const bad[] = {"", "*", "http://x/v1", "v1", "/a b", "/\xc3\xa9", "/a\tb", "/\x7f"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(target_split(arena, bad[i], &path, &query, &e), -1);
        assert_int_equal(e.code, ERR_BAD_REQUEST);
    }
}

static void decode(void **state)
{
    static const struct {
        const char *text, *query, *path;
    } cases[] = {
        {"alice%40x", "alice@x", "alice@x"},
        {"a+b", "a b", "a+b"},
        {"%E2%82%ac", "€", "€"},
        {"", "", ""},
        {"%", NULL, NULL},
        {"%4", NULL, NULL},
        {"%zz", NULL, NULL},
        {"%00", NULL, NULL},
        {"%ff", NULL, NULL},
        {"%c0%af", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *want[] = {cases[i].path, cases[i].query};
        for (int q = 0; q < 2; q++) {
            char *got = target_decode(arena, cases[i].text, strlen(cases[i].text), q != 0);
            assert_true((got == NULL) == (want[q] == NULL));
            if (got != NULL) {
                assert_string_equal(got, want[q]);
            }
        }
    }
}

static void match(void **state)
{
    static const struct {
        const char *template, *path;
        int count;
    } cases[] = {
        {"/v1/users", "/v1/users", 0},
        {"/v1/users", "/v1/users/", -1},
        {"/v1/users", "/v1/user", -1},
        {"/v1/users", "/v1/usersx", -1},
        {"/v1/users", "/v1", -1},
        {"/v1/users/{user_id}", "/v1/users/alice", 1},
        {"/v1/users/{user_id}", "/v1/users/", -1},
        {"/v1/users/{user_id}", "/v1/users/a/b", -1},
        {"/v1/users/{user_id}", "/v1/users/%", -1},
        {"/v1/conversations/direct/{user_a}/{user_b}", "/v1/conversations/direct/a/b%2Fc", 2},
        {"/v1/groups/{group_id}/members/batch", "/v1/groups/grp_1/members/batch", 1},
        {"/v1/groups/{group_id}/members/{user_id}", "/v1/groups/grp_1/members/batch", 2},
        {"/livez", "//livez", -1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(target_match(arena, cases[i].template, cases[i].path, NULL), cases[i].count);
    }
    json_t *params = json_own(arena, json_object());
    target_match(arena, cases[9].template, cases[9].path, params);
    assert_string_equal(json_str(params, "user_a", ""), "a");
    assert_string_equal(json_str(params, "user_b", ""), "b/c");
}

static void query(void **state)
{
    json_t *v;
    (void)state;
    assert_int_equal(target_query(arena, "a=1&b&&c=x%26y&d=", &v, &e), 0);
    assert_string_equal(json_write(arena, v, NULL), "{\"a\":\"1\",\"b\":\"\",\"c\":\"x&y\",\"d\":\"\"}");
    assert_int_equal(target_query(arena, NULL, &v, &e), 0);
    assert_int_equal(json_object_size(v), 0);
    static const char *const bad[] = {"a=1&a=2", "a=%", "%00=1", "a=%ff"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(target_query(arena, bad[i], &v, &e), -1);
        assert_int_equal(e.code, ERR_BAD_REQUEST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(split), cmocka_unit_test(decode), cmocka_unit_test(match), cmocka_unit_test(query)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
