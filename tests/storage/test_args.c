/* Arguments in binary form, byte by byte. Needs no server. */
#include "storage_test.h"

static void test_arrays(void **state)
{
    (void)state;
    struct arena *a = arena_new("test");
    struct pg_array x = pg_array(a, PG_TYPE_INT4, 0);
    assert_int_equal(x.len, 12);
    assert_memory_equal(x.data, "\0\0\0\0\0\0\0\1\0\0\0\27", 12); /* no dimension */
    x = pg_array(a, PG_TYPE_TEXT, 3);
    pg_add_text(&x, "é");
    pg_add_text(&x, NULL);
    pg_add_text(&x, "");
    assert_int_equal(x.len, 20 + 6 + 4 + 4);
    assert_memory_equal(x.data, "\0\0\0\1\0\0\0\1\0\0\0\31\0\0\0\3\0\0\0\1\0\0\0\2\303\251\377\377\377\377\0\0\0\0", x.len);
    x = pg_array(a, PG_TYPE_INT8, 1);
    pg_add_int(&x, -2, 8);
    assert_memory_equal(x.data + 20, "\0\0\0\10\377\377\377\377\377\377\377\376", 12);
    x = pg_array(a, PG_TYPE_INT2, 2);
    pg_add_int(&x, 258, 2);
    pg_add_int(&x, -1, 2);
    assert_memory_equal(x.data + 20, "\0\0\0\2\1\2\0\0\0\2\377\377", 12);
    x = pg_array(a, PG_TYPE_BOOL, 1);
    pg_add_int(&x, true, 1);
    assert_memory_equal(x.data + 20, "\0\0\0\1\1", 5);
    x = pg_array(a, PG_TYPE_BYTEA, 200); /* grows */
    char big[1000];
    memset(big, 7, sizeof(big));
    for (int i = 0; i < 200; i++) {
        pg_add(&x, big, sizeof(big));
    }
    assert_int_equal(x.len, 20 + 200 * 1004);
    assert_memory_equal(x.data + x.len - sizeof(big), big, sizeof(big));
    arena_free(&a);
}

static void test_scalars(void **state)
{
    (void)state;
    struct arena *a = arena_new("test");
    struct pg_args q = {.arena = a};
    pg_text(&q, NULL);
    pg_bigint(&q, -1);
    pg_int(&q, 1);
    pg_time(&q, 0);
    pg_time(&q, INT64_C(946684800001)); /* one millisecond after Postgres' epoch */
    pg_json(&q, json_null());
    pg_json(&q, NULL);
    pg_bytea(&q, "a\0b", 3);
    pg_bool(&q, true);
    assert_int_equal(q.n, 9);
    assert_null(q.values[1]);
    assert_memory_equal(q.values[2], "\377\377\377\377\377\377\377\377", 8);
    assert_memory_equal(q.values[3], "\0\0\0\1", 4);
    assert_null(q.values[4]);
    assert_memory_equal(q.values[5], "\0\0\0\0\0\0\3\350", 8);
    assert_string_equal(q.values[6], "null");
    assert_null(q.values[7]);
    assert_int_equal(q.lengths[8], 3);
    assert_int_equal(q.values[9][0], 1);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arrays), cmocka_unit_test(test_scalars)};
    return cmocka_run_group_tests_name("storage: arguments", tests, NULL, NULL);
}
