#include "core/tenant-private.h"
#include "storage/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct app_id app(void)
{
    struct app_id a;
    assert_int_equal(app_id_parse("app_01h455vb4pex5vsknk084sn02q", &a), 0);
    return a;
}

static void forms(void **state)
{
    (void)state;
    struct app_id a = app();
    struct conv_id conv = {.b = {1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 0x47}};
    struct user_id user;
    assert_int_equal(user_id_parse("a:b@c", &user), 0);
    char text[ID_TEXT_MAX], wanted[256];
    snprintf(wanted, sizeof(wanted), "p1:app_01h455vb4pex5vsknk084sn02q:{s07}:nodes:%s", conv_id_print(&conv, text));
    assert_string_equal(key_nodes(&a, &conv).s, wanted);
    assert_string_equal(key_user(&a, &user).s, "p1:app_01h455vb4pex5vsknk084sn02q:{u:a:b@c}:user");
    assert_string_equal(key_watchers(&a, &user).s, "p1:app_01h455vb4pex5vsknk084sn02q:{u:a:b@c}:watchers");
    assert_string_equal(key_bus("abc-1").s, "p1:bus:abc-1");
    assert_string_equal(key_bus("").s, "p1:bus:");
    assert_string_equal(key_bus_all().s, "p1:bus:all");
    assert_string_equal(key_incarnation().s, "p1:-:{-}:incarnation");
    assert_string_equal(key_attached("n").s, "p1:-:{-}:attached:n");
    assert_string_equal(key_sent("n").s, "p1:-:{-}:sent:n");
    assert_string_equal(key_index("n").s, "p1:-:{-}:index:n");
}

static void of_a_tenant(void **state)
{
    (void)state;
    struct app_id a = app();
    struct tenant *t = tenant_new(&a);
    struct conv_id conv = conv_id_new_group();
    assert_non_null(strstr(key_members(t, &conv).s, "}:members:grp_"));
    assert_non_null(strstr(key_floor(t, &conv).s, "}:floor:grp_"));
    tenant_unref(t);
}

static void longest_fit(void **state)
{
    (void)state;
    struct app_id a = app();
    struct user_id user;
    memset(user.s, 'x', USER_ID_MAX);
    user.s[USER_ID_MAX] = '\0';
    assert_true(strlen(key_watchers(&a, &user).s) > USER_ID_MAX);
}

static void index_members(void **state)
{
    (void)state;
    struct app_id a = app();
    struct conv_id conv = conv_id_new_group();
    struct rkey k = key_nodes(&a, &conv), back;
    assert_int_equal(key_from_index(k.s, strlen(k.s), &back), 0);
    assert_string_equal(back.s, k.s);
    for (size_t n = 0; n < strlen(k.s); n++) {
        assert_int_equal(key_from_index(k.s, n, &back), -1);
    }
    assert_int_equal(key_from_index(k.s, strlen(k.s) + 1, &back), -1);
    char other[300];
    snprintf(other, sizeof(other), "%s0", k.s);
    assert_int_equal(key_from_index(other, strlen(other), &back), -1);
    assert_int_equal(key_from_index("p1:bus:all", 10, &back), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(of_a_tenant),
        cmocka_unit_test(longest_fit),
        cmocka_unit_test(index_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
