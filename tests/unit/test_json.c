/* Strict JSON, YAML, merge patch, JSON Schema. */
#include "tests/unit/unit.h"
#include "tests/unit/fixture.h"

#include "core/json.h"
#include "core/schema.h"

static struct err e;

static json_t *read(const char *text)
{
    json_t *v = json_read(arena, text, strlen(text), &e);
    assert_non_null(v);
    return v;
}

static void strict_reading(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",     "{",       "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}",  "[1] 2", "nul", "\"\xff\"", "\"\xc0\xaf\"",
        "[1,]", "{'a':1}", "\"\\ud800\"",       "99999999999999999999", "1e400", "01",  "\"a\nb\""};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_null(json_read(arena, bad[i], strlen(bad[i]), &e));
        assert_int_equal(e.code, ERR_MALFORMED_JSON);
    }
    assert_null(json_read(arena, "\"a\0b\"", 5, &e));
    assert_null(json_read(arena, "[1e300\0]", 8, &e));
    assert_null(json_read(arena, "1\0", 2, &e));
    assert_string_equal(json_write(arena, read(" { \"b\" : [ 1, 2.5, \"\\u00e9\", null ], \"a\" : true } "), NULL),
                        "{\"b\":[1,2.5,\"é\",null],\"a\":true}");
}

static void loose_reading(void **state)
{
    (void)state;
    static const struct {
        const char *text, *value;
    } good[] = {{"[1,1.5,-0,0]", "[1,1.5,0,0]"},
                {"[1e400,-1E-400,99999999999999999999,-123456789012345678901.5e+3, 1]", "[0.0,0.0,0.0,0.0,1]"},
                {"[999999999999999999,-9999999999999999999]", "[999999999999999999,0.0]"},
                {"{\"a\":1,\"a\":2}", "{\"a\":2}"},
                {"[\"\\ud800\",\"\\u0000\",\"\\uD83D\\uDE00\",\"\\\\ud800\",\"1e400\",\"\\\"1e400\"]",
                 "[\"\357\277\275\",\"\357\277\275\",\"\357\277\275\357\277\275\",\"\\\\ud800\",\"1e400\",\"\\\"1e400\"]"},
                {"{\"\\u0000\":[]}", "{\"\357\277\275\":[]}"}};
    for (size_t i = 0; i < COUNT(good); i++) {
        json_t *v = json_read_loosely(arena, good[i].text, strlen(good[i].text), &e);
        assert_non_null(v);
        assert_string_equal(json_write(arena, v, NULL), good[i].value);
    }
    static const char *const bad[] = {"",
                                      "{",
                                      "[1] 2",
                                      "nul",
                                      "\"\xff\"",
                                      "[1,]",
                                      "\"\\ud80\"",
                                      "\"\\ud80g\"",
                                      "\"\\",
                                      "\"\\u",
                                      "01",
                                      "1e",
                                      "1e+",
                                      "1.e5",
                                      ".5e1",
                                      "-e1",
                                      "00000000000000000000000",
                                      "123456789012345678901.",
                                      "1234567890123456789-1",
                                      "-",
                                      "\"a\nb\""};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_null(json_read_loosely(arena, bad[i], strlen(bad[i]), &e));
    }
    assert_null(json_read_loosely(arena, "1e\0", 3, &e));
    assert_null(json_read_loosely(arena, "\"\\u\0\0aa\"", 8, &e));
    assert_null(json_read_loosely(arena, "\"\\u0x00\"", 8, &e));
    char deep[66];
    memset(deep, '[', 33);
    memset(deep + 33, ']', 33);
    assert_null(json_read_loosely(arena, deep, 66, &e));
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char deep[20001];
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    assert_null(json_read(arena, deep, 20000, &e));
    assert_non_null(strstr(e.msg, "nested"));
    memset(deep, '[', 32);
    memset(deep + 32, ']', 32);
    assert_non_null(json_read(arena, deep, 64, &e));
    assert_non_null(json_read(arena, "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"", 43, &e));
}

static void merge_patch(void **state)
{
    (void)state;
    /* RFC 7396, appendix A: target, patch, result. */
    static const char *const cases[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *target = read(cases[i][0]);
        json_merge_patch(target, read(cases[i][1]));
        assert_string_equal(json_write(arena, target, NULL), cases[i][2]);
    }
}

static void yaml(void **state)
{
    (void)state;
    static const char text[] = "a: 1\nb: [x, 'true', true, ~, 1.5, \"q\"]\nc:\n  d: |\n    two\n    lines\n  e: {f: -3}\n'200': ok\n";
    json_t *v = json_read_yaml(arena, text, strlen(text), &e);
    assert_non_null(v);
    assert_string_equal(
        json_write(arena, v, NULL),
        "{\"a\":1,\"b\":[\"x\",\"true\",true,null,1.5,\"q\"],\"c\":{\"d\":\"two\\nlines\\n\",\"e\":{\"f\":-3}},\"200\":\"ok\"}");
    static const char *const bad[] = {"a: 1\na: 2\n", "a: &x 1\nb: *x\n", "a: [1",   "",
                                      "a: !!str 1",   "!x {a: 1}",        "a: .inf", "a: 1\n---\nb: 2\n",
                                      "? [a]\n",      "\"a\\0b\": 1",     "a: \xff"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_null(json_read_yaml(arena, bad[i], strlen(bad[i]), &e));
    }
}

static void yaml_scalars(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"True", "true"},    {"NULL", "null"},
        {"-12", "-12"},      {"+7", "7"},
        {"0x1F", "31"},      {"0o17", "15"},
        {"017", "17"},       {"1e3", "1000.0"},
        {"1.", "1.0"},       {".5", "0.5"},
        {"yes", "\"yes\""},  {"1.2.3", "\"1.2.3\""},
        {"0x", "\"0x\""},    {"2026-11-24", "\"2026-11-24\""},
        {"\"1\"", "\"1\""},  {"'~'", "\"~\""},
        {"|\n  1", "\"1\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *v = json_read_yaml(arena, cases[i][0], strlen(cases[i][0]), &e);
        if (v == NULL) {
            fail_msg("%s: %s", cases[i][0], e.msg);
        }
        assert_string_equal(json_write(arena, v, NULL), cases[i][1]);
    }
}

static const char document[] =
    "{\"defs\":{\"Name\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":5,\"pattern\":\"^[a-zé]+$\"},"
    "\"User\":{\"type\":\"object\",\"required\":[\"id\"],\"additionalProperties\":false,\"properties\":{"
    "\"id\":{\"$ref\":\"#/defs/Name\"},\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":150},"
    "\"tags\":{\"type\":\"array\",\"items\":{\"enum\":[\"x\",\"y\"]},\"maxItems\":2,\"uniqueItems\":true},"
    "\"at\":{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"},\"url\":{\"type\":\"string\",\"format\":\"uri\"},"
    "\"to\":{\"oneOf\":[{\"type\":\"object\",\"required\":[\"a\"]},{\"type\":\"object\",\"required\":[\"b\"]}]}}}}}";

static void schemas(void **state)
{
    (void)state;
    static const struct {
        const char *value, *code, *pointer; /* code NULL: valid */
    } cases[] = {
        {"{\"id\":\"bob\"}", NULL, NULL},
        {"{\"id\":\"bébé\",\"age\":150,\"tags\":[\"x\",\"y\"],\"at\":null,\"url\":\"https://x\",\"to\":{\"a\":1}}", NULL, NULL},
        {"[]", "wrong_type", ""},
        {"{}", "required", "/id"},
        {"{\"id\":\"bob\",\"agee\":1}", "unknown_field", "/agee"},
        {"{\"id\":\"toolong\"}", "too_long", "/id"},
        {"{\"id\":\"\"}", "too_short", "/id"},
        {"{\"id\":\"Bob\"}", "pattern", "/id"},
        {"{\"id\":1}", "wrong_type", "/id"},
        {"{\"id\":\"bob\",\"age\":1.5}", "wrong_type", "/age"},
        {"{\"id\":\"bob\",\"age\":-1}", "out_of_range", "/age"},
        {"{\"id\":\"bob\",\"tags\":[\"x\",\"z\"]}", "not_allowed", "/tags/1"},
        {"{\"id\":\"bob\",\"tags\":[\"x\",\"x\"]}", "duplicate", "/tags"},
        {"{\"id\":\"bob\",\"tags\":[\"x\",\"y\",\"x\"]}", "too_long", "/tags"},
        {"{\"id\":\"bob\",\"at\":\"yesterday\"}", "format", "/at"},
        {"{\"id\":\"bob\",\"url\":\"javascript:alert(1)\"}", "format", "/url"},
        {"{\"id\":\"bob\",\"to\":{}}", "required", "/to/a"},
        {"{\"id\":\"bob\",\"to\":{\"a\":1,\"b\":2}}", "not_allowed", "/to"},
        {"{\"id\":\"bob\",\"a/b~c\":1}", "unknown_field", "/a~1b~0c"},
    };
    json_t *doc = read(document);
    const json_t *user = json_object_get(json_object_get(doc, "defs"), "User");
    assert_int_equal(schema_lint(doc, user, &e), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schema_report report;
        int valid = schema_check(doc, user, read(cases[i].value), &report);
        assert_int_equal(valid, cases[i].code == NULL ? 0 : -1);
        if (cases[i].code != NULL) {
            assert_string_equal(report.problems[0].code, cases[i].code);
            assert_string_equal(report.problems[0].pointer, cases[i].pointer);
        }
    }
}

static void suggestions(void **state)
{
    (void)state;
    json_t *doc = read(document);
    struct schema_report report;
    assert_int_equal(schema_check(doc, read("{\"$ref\":\"#/defs/User\"}"), read("{\"id\":\"bob\",\"tasg\":[]}"), &report), -1);
    assert_non_null(strstr(report.problems[0].detail, "did you mean \"tags\""));
}

static void unknown_keywords_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"{\"type\":\"string\",\"format\":\"email\"}", "{\"properties\":{\"a\":{\"dependentRequired\":{}}}}",
                                      "{\"pattern\":\"(\"}", "{\"items\":{\"$ref\":\"#/nowhere\"}}", "{\"oneOf\":[{\"if\":{}}]}"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(schema_lint(read("{}"), read(bad[i]), &e), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strict_reading), cmocka_unit_test(loose_reading), cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(merge_patch),    cmocka_unit_test(yaml),          cmocka_unit_test(yaml_scalars),
        cmocka_unit_test(schemas),        cmocka_unit_test(suggestions),   cmocka_unit_test(unknown_keywords_are_refused),
    };
    return cmocka_run_group_tests_name("json", tests, setup, teardown);
}
