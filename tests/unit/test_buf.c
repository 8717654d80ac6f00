/* Buffers, arenas, and text that was cut. */
#include "tests/unit/unit.h"

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/json.h"
#include "core/text.h"

static void an_empty_buffer_is_usable(void **state)
{
    (void)state;
    struct buf b = {0};
    size_t len = 1;
    buf_clear(&b);
    buf_add(&b, NULL, 0);
    assert_string_equal(b.data, "");
    buf_free(&b);
    assert_null(b.data);
    buf_free(&b);
    char *bytes = buf_steal(&b, &len);
    assert_string_equal(bytes, "");
    assert_int_equal(len, 0);
    free(bytes);
}

static void it_grows_and_stays_terminated(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 10000; i++) {
        buf_addc(&b, (char)('a' + i % 26));
        assert_int_equal(b.data[b.len], '\0');
    }
    assert_int_equal(b.len, 10000);
    assert_int_equal(b.data[9999], 'a' + 9999 % 26);
    char *kept = b.data;
    buf_clear(&b);
    buf_addf(&b, "%0500d", 7);
    assert_int_equal(b.len, 500);
    assert_ptr_equal(b.data, kept);
    buf_clear(&b);
    buf_addu(&b, 0);
    assert_string_equal(b.data, "0");
    buf_free(&b);
}

/* All bytes below 0x80 must come back through the JSON reader. */
static void json_strings_come_back(void **state)
{
    (void)state;
    char all[127];
    struct err e;
    struct buf b = {0};
    struct arena *a = arena_new("test");
    for (int i = 0; i < 127; i++) {
        all[i] = (char)(i + 1);
    }
    buf_add_json_string(&b, all, sizeof(all));
    json_t *v = json_read(a, b.data, b.len, &e);
    assert_non_null(v);
    assert_int_equal(json_string_length(v), sizeof(all));
    assert_memory_equal(json_string_value(v), all, sizeof(all));
    buf_clear(&b);
    buf_add_json_string(&b, "", 0);
    assert_string_equal(b.data, "\"\"");
    arena_free(&a);
    buf_free(&b);
}

static void arenas_give_zeroed_aligned_memory(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 1000, 1024, 1025, 4096, 5000, 100000};
    struct arena *a = arena_new("test");
    char *all[3 * COUNT(sizes)];
    for (size_t i = 0; i < COUNT(all); i++) {
        size_t size = sizes[i % COUNT(sizes)];
        all[i] = arena_alloc(a, size);
        assert_int_equal((uintptr_t)all[i] % _Alignof(max_align_t), 0);
        for (size_t j = 0; j < size; j++) {
            assert_int_equal(all[i][j], 0);
        }
        memset(all[i], (int)i + 1, size);
    }
    for (size_t i = 0; i < COUNT(all); i++) { /* nothing overlaps */
        for (size_t j = 0; j < sizes[i % COUNT(sizes)]; j++) {
            assert_int_equal(all[i][j], (char)(i + 1));
        }
    }
    assert_true(arena_bytes(a) >= 3 * 100000);
    assert_string_equal(arena_dup(a, "abcdef", 3), "abc");
    assert_string_equal(arena_strdup(a, ""), "");
    arena_free(&a);
    arena_free(&a);
}

static struct arena *late;
static int late_runs;

static void count(void *p)
{
    late_runs += *(int *)p;
}

static void defer_more(void *p)
{
    arena_defer(late, count, p);
}

static void a_clean_up_may_register_another(void **state)
{
    (void)state;
    int one = 1;
    struct arena *a = late = arena_new("test");
    arena_defer(a, defer_more, &one);
    arena_free(&a);
    assert_int_equal(late_runs, 1);
}

static void cut_text_is_repaired(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"plain", "plain"},
        {"é€😀", "é€😀"},
        {"a\xc3", "a"},         /* cut inside é */
        {"a\xe2\x82", "a"},     /* cut inside € */
        {"a\xf0\x9f\x98", "a"}, /* cut inside 😀 */
        {"\xc3(", "?("},
        {"\xff\xfe", "??"},
        {"\xc0\xaf", "??"}, /* overlong */
        {"\xe0\x80\xaf", "???"},
        {"\xed\xa0\x80x", "???x"},    /* surrogate */
        {"\xf4\x90\x80\x80", "????"}, /* beyond U+10FFFF */
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
        {"\x80z", "?z"},
        {"\xe2\x82z", "??z"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char s[32];
        snprintf(s, sizeof(s), "%s", cases[i][0]);
        text_repair(s);
        if (strcmp(s, cases[i][1]) != 0) {
            fail_msg("case %zu gave \"%s\"", i, s);
        }
    }
}

static void errors_are_valid_text_at_every_cut(void **state)
{
    (void)state;
    struct arena *a = arena_new("test");
    for (int shift = 0; shift < 4; shift++) {
        struct buf b = {0};
        struct err e;
        buf_add(&b, "abcd", (size_t)shift);
        for (int i = 0; i < 100; i++) {
            buf_adds(&b, "😀");
        }
        assert_int_equal(err_at(&e, ERR_BAD_REQUEST, b.data, "%s", b.data), -1);
        json_own(a, json_pack("{s:s,s:s}", "msg", e.msg, "pointer", e.pointer));
        assert_true(strlen(e.msg) > 180);
        assert_int_equal(err_set(&e, ERR_BAD_REQUEST, "bad \xff"), -1);
        assert_string_equal(e.msg, "bad ?");
        assert_string_equal(e.pointer, "");
        buf_free(&b);
    }
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_is_usable),
        cmocka_unit_test(it_grows_and_stays_terminated),
        cmocka_unit_test(json_strings_come_back),
        cmocka_unit_test(arenas_give_zeroed_aligned_memory),
        cmocka_unit_test(a_clean_up_may_register_another),
        cmocka_unit_test(cut_text_is_repaired),
        cmocka_unit_test(errors_are_valid_text_at_every_cut),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
