/* Cursors: round trip, forgery, other queries. */
#include "tests/unit/unit.h"

#include "api/cursor.c"

static struct arena *arena;
static struct err e;

static int setup(void **state)
{
    static const uint8_t key[32] = {1, 2, 3};
    (void)state;
    arena = arena_new("test");
    cursor_start(key);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static void round_trip(void **state)
{
    struct cursor c = {.ms = 1795493757123}, back;
    (void)state;
    memset(c.id, 'x', USER_ID_MAX);
    for (size_t len = 0; len <= USER_ID_MAX; len++) {
        c.id[len] = '\0';
        assert_int_equal(cursor_read(arena, "q", cursor_write(arena, "q", &c), &back, &e), 0);
        assert_true(back.ms == c.ms);
        assert_string_equal(back.id, c.id);
        c.id[len] = 'x';
    }
}

static void other_query(void **state)
{
    struct cursor c = {.ms = 1, .id = "alice"}, back;
    (void)state;
    assert_int_equal(cursor_read(arena, "role=b", cursor_write(arena, "role=a", &c), &back, &e), -1);
    assert_int_equal(e.code, ERR_CURSOR_MISMATCH);
}

static void forged(void **state)
{
    struct cursor c = {.ms = 1, .id = "alice"}, back;
    char *good = cursor_write(arena, "q", &c);
    (void)state;
    for (size_t i = 0; good[i] != '\0'; i++) {
        char *bad = arena_strdup(arena, good);
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        assert_int_equal(cursor_read(arena, "q", bad, &back, &e), -1);
        assert_int_equal(e.code, ERR_INVALID_CURSOR);
        assert_int_equal(cursor_read(arena, "q", arena_dup(arena, good, i), &back, &e), -1);
        assert_int_equal(e.code, ERR_INVALID_CURSOR);
    }
    char *longer = arena_printf(arena, "%s%300s", good, "A");
    assert_int_equal(cursor_read(arena, "q", longer, &back, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(other_query), cmocka_unit_test(forged)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
