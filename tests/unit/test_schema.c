/* JSON Schema: messages for people, branches, and what schema_lint() refuses. */
#include "tests/unit/unit.h"
#include "tests/unit/fixture.h"

#include "core/buf.h"
#include "core/json.h"
#include "core/schema.h"

static json_t *read(const char *text)
{
    struct err e = {0};
    json_t *v = json_read(arena, text, strlen(text), &e);
    if (v == NULL) {
        print_error("%s: %s\n", text, e.msg);
    }
    assert_non_null(v);
    return v;
}

static int run(const char *schema, const char *value, struct schema_report *report)
{
    json_t *s = read(schema);
    return schema_check(s, s, read(value), report);
}

static void keywords(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *value, *code; /* code NULL: valid */
    } cases[] = {
        {"true", "1", NULL},
        {"false", "1", "not_allowed"},
        {"{\"type\":\"integer\"}", "1.0", "wrong_type"},
        {"{\"type\":\"number\"}", "1", NULL},
        {"{\"type\":[\"string\",\"null\"]}", "null", NULL},
        {"{\"type\":[\"string\",\"null\"]}", "1", "wrong_type"},
        {"{\"const\":\"a\"}", "\"a\"", NULL},
        {"{\"const\":\"a\"}", "\"b\"", "not_allowed"},
        {"{\"enum\":[1,\"a\"]}", "2", "not_allowed"},
        {"{\"maxLength\":2}", "\"éé\"", NULL},
        {"{\"maxLength\":2}", "\"ééé\"", "too_long"},
        {"{\"minProperties\":1}", "{}", "too_short"},
        {"{\"maxProperties\":1}", "{\"a\":1,\"b\":2}", "too_long"},
        {"{\"minItems\":1}", "[]", "too_short"},
        {"{\"additionalProperties\":{\"type\":\"integer\"}}", "{\"a\":1}", NULL},
        {"{\"additionalProperties\":{\"type\":\"integer\"}}", "{\"a\":\"1\"}", "wrong_type"},
        {"{\"maximum\":9007199254740991}", "9007199254740991", NULL},
        {"{\"maximum\":10}", "10.5", "out_of_range"},
        {"{\"uniqueItems\":true,\"maxItems\":3}", "[{\"a\":1},{\"a\":1}]", "duplicate"},
        {"{\"not\":{\"required\":[\"a\"]}}", "{\"b\":1}", NULL},
        {"{\"not\":{\"required\":[\"a\"]}}", "{\"a\":1}", "not_allowed"},
        {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "null", NULL},
        {"{\"oneOf\":[{\"type\":\"string\"},{\"maxLength\":3}]}", "\"ab\"", "not_allowed"},
        {"{\"$ref\":\"#/nowhere\"}", "1", "not_allowed"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schema_report report;
        int result = run(cases[i].schema, cases[i].value, &report);
        if ((result == 0) != (cases[i].code == NULL)) {
            print_error("%s on %s gave %d\n", cases[i].schema, cases[i].value, result);
        }
        assert_int_equal(result, cases[i].code == NULL ? 0 : -1);
        assert_int_equal(report.count > 0, cases[i].code != NULL);
        if (cases[i].code != NULL) {
            assert_string_equal(report.problems[0].code, cases[i].code);
        }
    }
}

static void unknown_fields_get_the_nearest_name(void **state)
{
    (void)state;
    static const char schema[] = "{\"additionalProperties\":false,\"properties\":{\"user_id\":{},\"user_ids\":{},\"name\":{},\"at\":{}}}";
    static const char *const cases[][2] = {
        /* given, suggested (NULL: none) */
        {"userId", "user_id"}, {"usr_id", "user_id"}, {"user_idss", "user_ids"}, {"nmae", "name"},
        {"time", NULL},        {"ta", NULL},          {"colour", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schema_report report;
        assert_int_equal(run(schema, arena_printf(arena, "{\"%s\":1}", cases[i][0]), &report), -1);
        assert_string_equal(report.problems[0].code, "unknown_field");
        const char *expected = "is not a known field";
        if (cases[i][1] != NULL) {
            expected = arena_printf(arena, "is not a known field; did you mean \"%s\"?", cases[i][1]);
        }
        assert_string_equal(report.problems[0].detail, expected);
    }
}

/* Of a union, the branch that was meant is the one to explain. */
static void branches_report_the_one_that_was_meant(void **state)
{
    (void)state;
    static const char schema[] = "{\"oneOf\":[{\"type\":\"string\"},"
                                 "{\"type\":\"object\",\"required\":[\"kind\",\"text\",\"lang\"],\"properties\":{\"kind\":{\"const\":"
                                 "\"text\"},\"text\":{\"minLength\":1}}},"
                                 "{\"type\":\"object\",\"required\":[\"kind\"],\"properties\":{\"kind\":{\"const\":\"file\"}}}]}";
    struct schema_report report;
    assert_int_equal(run(schema, "{\"kind\":\"text\",\"text\":\"\"}", &report), -1);
    assert_int_equal(report.count, 2);
    assert_string_equal(report.problems[0].pointer, "/lang");
    assert_string_equal(report.problems[1].pointer, "/text");
    assert_int_equal(run(schema, "{\"kind\":\"file\"}", &report), 0);
    assert_int_equal(run(schema, "{\"kind\":\"x\"}", &report), -1);
    assert_string_equal(report.problems[0].pointer, "/kind");
}

static void all_parts_of_all_of_report(void **state)
{
    (void)state;
    struct schema_report report;
    assert_int_equal(run("{\"allOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\",\"c\"]}]}", "{}", &report), -1);
    assert_int_equal(report.count, 3);
}

static void reports_are_bounded_and_valid_text(void **state)
{
    (void)state;
    struct buf many = {0};
    buf_adds(&many, "{\"x");
    for (int i = 0; i < 200; i++) {
        buf_adds(&many, "é");
    }
    buf_adds(&many, "\":1");
    for (int i = 0; i < 40; i++) {
        buf_addf(&many, ",\"%d~/\":1", i);
    }
    buf_addc(&many, '}');
    struct schema_report report;
    assert_int_equal(run("{\"additionalProperties\":false}", many.data, &report), -1);
    assert_int_equal(report.count, 41);
    for (int i = 0; i < SCHEMA_PROBLEMS_MAX; i++) {
        json_own(arena, json_string(report.problems[i].pointer));
        json_own(arena, json_string(report.problems[i].detail));
    }
    assert_string_equal(report.problems[1].pointer, "/0~0~1");
    buf_free(&many);
}

static void lint_accepts(void **state)
{
    (void)state;
    static const char *const good[] = {
        "true",
        "{}",
        "{\"title\":\"x\",\"example\":{\"if\":1},\"discriminator\":{\"propertyName\":\"a\"}}",
        "{\"$ref\":\"#/defs/a\",\"description\":\"d\"}",
        "{\"$ref\":\"#/defs/self\"}",
        "{\"properties\":{\"type\":{\"type\":\"string\"},\"if\":{}}}",
        "{\"uniqueItems\":true,\"maxItems\":3}",
    };
    json_t *document = read("{\"defs\":{\"a\":{\"type\":\"string\"},\"self\":{\"items\":{\"$ref\":\"#/defs/self\"}}}}");
    for (size_t i = 0; i < COUNT(good); i++) {
        struct err e = {0};
        if (schema_lint(document, read(good[i]), &e) < 0) {
            fail_msg("%s: %s", good[i], e.msg);
        }
    }
}

static void lint_refuses(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        /* schema, what the text must name */
        {"{\"if\":{}}", "if"},
        {"{\"allOf\":[{\"oneOf\":[{\"items\":{\"patternProperties\":{}}}]}]}", "patternProperties"},
        {"{\"type\":\"strin\"}", "type"},
        {"{\"type\":[\"string\",1]}", "type"},
        {"{\"minLength\":\"3\"}", "minLength"},
        {"{\"maxItems\":-1}", "maxItems"},
        {"{\"required\":\"a\"}", "required"},
        {"{\"enum\":[]}", "enum"},
        {"{\"properties\":[]}", "properties"},
        {"{\"pattern\":\"[\"}", "pattern"},
        {"{\"format\":\"email\"}", "format"},
        {"{\"uniqueItems\":true}", "maxItems"},
        {"{\"items\":3}", "no schema"},
        {"{\"$ref\":\"#/defs/none\"}", "$ref"},
        {"{\"$ref\":\"other.yaml#/x\"}", "$ref"},
        {"{\"$ref\":\"#/defs/loop\"}", "$ref"},
        {"{\"$ref\":\"#/defs/good\",\"maxLength\":3}", "maxLength"},
        {"{\"$ref\":\"#/defs/bad\"}", "then"},
    };
    json_t *document = read("{\"defs\":{\"good\":{},\"bad\":{\"items\":{\"then\":{}}},\"loop\":{\"$ref\":\"#/defs/loop\"}}}");
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err e = {0};
        if (schema_lint(document, read(bad[i][0]), &e) == 0) {
            fail_msg("%s was accepted", bad[i][0]);
        }
        assert_non_null(strstr(e.msg, bad[i][1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keywords),
        cmocka_unit_test(unknown_fields_get_the_nearest_name),
        cmocka_unit_test(branches_report_the_one_that_was_meant),
        cmocka_unit_test(all_parts_of_all_of_report),
        cmocka_unit_test(reports_are_bounded_and_valid_text),
        cmocka_unit_test(lint_accepts),
        cmocka_unit_test(lint_refuses),
    };
    return cmocka_run_group_tests_name("schema", tests, setup, teardown);
}
