#include "tests/unit/unit.h"

#include "tenants/scopes.h"

static void names_and_sets(void **state)
{
    (void)state;
    uint64_t set;
    json_t *all = scopes_json(scopes_all());
    assert_int_equal(json_array_size(all), SCOPE_COUNT);
    assert_int_equal(scopes_parse(all, &set), 0);
    assert_true(set == scopes_all());
    assert_string_equal(scope_name(SCOPE_APP_READ), "app:read");
    assert_string_equal(scope_name(SCOPE_AUDIT_READ), "audit:read");
    json_decref(all);

    json_t *some = json_pack("[s, s, s]", "users:read", "groups:write", "users:read");
    assert_int_equal(scopes_parse(some, &set), 0);
    assert_true(set == (UINT64_C(1) << SCOPE_USERS_READ | UINT64_C(1) << SCOPE_GROUPS_WRITE));
    json_decref(some);

    json_t *back = scopes_json(set);
    assert_int_equal(json_array_size(back), 2);
    assert_string_equal(json_string_value(json_array_get(back, 0)), "users:read");
    json_decref(back);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int bad;
    } cases[] = {
        {"[]", 0},  {"[\"users:read\"]", 0},      {"[\"users:\"]", 1}, {"[\"users:read\",\"*\"]", 2}, {"[\"Users:read\"]", 1},
        {"[1]", 1}, {"[\"users:read\",null]", 2}, {"[\"\"]", 1},       {"[[\"users:read\"]]", 1},     {"[\"users:read \"]", 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t set = 7;
        json_t *v = json_loads(cases[i].json, 0, NULL);
        assert_int_equal(scopes_parse(v, &set), cases[i].bad);
        assert_true(cases[i].bad == 0 || set == 7);
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_and_sets), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
