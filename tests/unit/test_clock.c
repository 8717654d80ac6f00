#include "tests/unit/unit.h"

#include "core/clock.h"

static void bounds(void **state)
{
    (void)state;
    static const struct {
        const char *text, *printed; /* printed NULL: refused */
    } cases[] = {
        {"0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"},
        {"0000-01-01T00:00:00+00:01", "0000-01-01T00:00:00.000Z"}, /* before year 0: clamped */
        {"9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999Z"},
        {"2000-02-29T12:00:00-23:59", "2000-03-01T11:59:00.000Z"},
        {"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"},
        {"2026-11-24t04:15:57.1z", "2026-11-24T04:15:57.100Z"},
        {"2026-11-24T04:15:57-00:00", "2026-11-24T04:15:57.000Z"},
        {"1900-02-29T00:00:00Z", NULL},
        {"2026-00-01T00:00:00Z", NULL},
        {"2026-04-31T00:00:00Z", NULL},
        {"2026-04-00T00:00:00Z", NULL},
        {"2026-04-01T00:60:00Z", NULL},
        {"2026-04-01T00:00:61Z", NULL},
        {"2026-04-01T00:00:00+24:00", NULL},
        {"2026-04-01T00:00:00+00:60", NULL},
        {"2026-04-01T00:00:00+0000", NULL},
        {"2026-04-01T00:00:00", NULL},
        {"2026-04-01T00:00Z", NULL},
        {" 2026-04-01T00:00:00Z", NULL},
        {"2026-04-01T00:00:00Z ", NULL},
        {"+2026-04-01T00:00:00Z", NULL},
        {"2026-4-1T00:00:00Z", NULL},
        {"2", NULL},
        {"2026-", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[CLOCK_TEXT_MAX];
        int64_t ms = 42;
        int result = clock_parse(cases[i].text, &ms);
        if (result != (cases[i].printed != NULL ? 0 : -1)) {
            fail_msg("%s gave %d", cases[i].text, result);
        }
        if (result == 0) {
            assert_string_equal(clock_format(ms, out), cases[i].printed);
        } else {
            assert_int_equal(ms, 42);
        }
    }
}

static void every_day_comes_back(void **state)
{
    (void)state;
    char out[CLOCK_TEXT_MAX], before[CLOCK_TEXT_MAX] = "";
    for (int64_t day = -719528; day < 2932897; day += 13) {
        int64_t ms = day * 86400000 + 12345678, again;
        clock_format(ms, out);
        assert_true(strcmp(before, out) < 0);
        assert_int_equal(clock_parse(out, &again), 0);
        assert_int_equal(again, ms);
        memcpy(before, out, sizeof(before));
    }
}

static int64_t wall(void)
{
    return 1000;
}

static int64_t mono(void)
{
    return 7;
}

static void tests_may_replace_clocks(void **state)
{
    (void)state;
    clock_replace(wall, mono);
    assert_int_equal(clock_wall_ms(), 1000);
    assert_int_equal(clock_mono_ms(), 7);
    assert_int_equal(clock_mono_us(), 7000);
    clock_replace(NULL, NULL);
    int64_t first = clock_mono_us();
    assert_true(clock_wall_ms() > INT64_C(1700000000000));
    assert_true(clock_mono_us() >= first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds),
        cmocka_unit_test(every_day_comes_back),
        cmocka_unit_test(tests_may_replace_clocks),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
