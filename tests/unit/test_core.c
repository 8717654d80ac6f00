/* Arenas and the catalogue of errors. */
#include "tests/unit/unit.h"

#include "core/arena.h"
#include "core/err.h"

static int order;
static void note(void *p)
{
    order = order * 10 + *(int *)p;
}

static void arenas_clean_up_in_reverse(void **state)
{
    (void)state;
    struct arena *a = arena_new("test");
    int one = 1, two = 2;
    arena_defer(a, note, &one);
    arena_defer(a, note, &two);
    char *big = arena_alloc(a, 100000), *small = arena_alloc(a, 3);
    memset(big, 7, 100000);
    assert_int_equal(small[0], 0);
    assert_string_equal(arena_printf(a, "%s-%d", "x", 5), "x-5");
    arena_free(&a);
    assert_null(a);
    assert_int_equal(order, 21);
}

static void errors_have_names(void **state)
{
    (void)state;
    struct err e;
    for (int i = 0; i < ERR_COUNT; i++) {
        assert_true(err_http_status((enum err_code)i) >= 200);
        assert_int_equal(strspn(err_name((enum err_code)i), "abcdefghijklmnopqrstuvwxyz_"), strlen(err_name((enum err_code)i)));
    }
    assert_int_equal(err_at(&e, ERR_VALIDATION_FAILED, "/name", "is %s", "bad"), -1);
    assert_string_equal(e.pointer, "/name");
    assert_string_equal(e.msg, "is bad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arenas_clean_up_in_reverse),
        cmocka_unit_test(errors_have_names),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
