#include "tests/unit/unit.h"

#include "core/rate.h"

static void steps(void **state)
{
    (void)state;
    static const struct rate_limit limit = {.per_second = 10, .burst = 30};
    static const struct {
        int64_t now;
        uint32_t cost;
        bool taken;
        int64_t retry;
    } cases[] = {
        {0, 30, true, 0},          /* a zeroed bucket is full, at time 0 too */
        {0, 1, false, 100},        /* empty */
        {99, 1, false, 1},         /* parts of a token count */
        {100, 1, true, 0},         /* refilled by one */
        {300, 3, false, 100},      /* a refusal takes nothing… */
        {300, 2, true, 0},         /* …so two are there */
        {200, 1, false, 100},      /* a clock that goes back gives nothing… */
        {300, 1, false, 100},      /* …and does not count the same span twice */
        {1000000, 31, false, 100}, /* never more than the burst */
        {1000000, 30, true, 0},    {1000000, 0, true, 0},
    };
    struct rate_bucket b = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t retry = 0;
        if (rate_take(&b, &limit, cases[i].cost, cases[i].now, &retry) != cases[i].taken || retry != cases[i].retry) {
            fail_msg("step %zu: retry %lld", i, (long long)retry);
        }
    }
}

static void nothing_per_second_never_refills(void **state)
{
    (void)state;
    static const struct rate_limit limit = {.per_second = 0, .burst = 1};
    struct rate_bucket b = {0};
    int64_t retry = 0;
    assert_true(rate_take(&b, &limit, 1, 1000, NULL));
    assert_false(rate_take(&b, &limit, 1, INT64_C(1000000000000), &retry));
    assert_int_equal(retry, RATE_NEVER_MS);
}

static void the_largest_limits_do_not_overflow(void **state)
{
    (void)state;
    static const struct rate_limit limit = {.per_second = UINT32_MAX, .burst = UINT32_MAX};
    struct rate_bucket b = {0};
    int64_t retry = 0;
    assert_true(rate_take(&b, &limit, UINT32_MAX, 1, NULL));
    assert_false(rate_take(&b, &limit, UINT32_MAX, 500, &retry));
    assert_int_equal(retry, 501);
    assert_true(rate_take(&b, &limit, UINT32_MAX, INT64_MAX, &retry));
}

static void the_rate_holds_over_time(void **state)
{
    (void)state;
    static const struct rate_limit limit = {.per_second = 7, .burst = 3};
    struct rate_bucket b = {0};
    int taken = 0;
    for (int64_t now = 1; now <= 10000; now++) {
        taken += rate_take(&b, &limit, 1, now, NULL);
    }
    assert_in_range(taken, 72, 73);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps),
        cmocka_unit_test(nothing_per_second_never_refills),
        cmocka_unit_test(the_largest_limits_do_not_overflow),
        cmocka_unit_test(the_rate_holds_over_time),
    };
    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
