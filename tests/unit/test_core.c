/* Clock, buffers, rates, crypto, metrics, errors, arenas. */
#include "tests/unit/unit.h"

#include "core/arena.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/err.h"
#include "core/metrics.h"
#include "core/rate.h"

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
        const char *printed;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z"},
        {"2026-11-24T04:15:57.123Z", 1795493757123, "2026-11-24T04:15:57.123Z"},
        {"2026-11-24T05:15:57.1239+01:00", 1795493757123, "2026-11-24T04:15:57.123Z"},
        {"2024-02-29T23:59:59z", 1709251199000, "2024-02-29T23:59:59.000Z"},
        {"1969-12-31T23:59:59.999Z", -1, "1969-12-31T23:59:59.999Z"},
    };
    static const char *const bad[] = {"",
                                      "2026-11-24",
                                      "2026-11-24T04:15:57",
                                      "2026-13-01T00:00:00Z",
                                      "2025-02-29T00:00:00Z",
                                      "2026-11-24T24:00:00Z",
                                      "2026-11-24T04:15:57.Z",
                                      "2026-11-24 04:15:57Z",
                                      "2026-11-24T04:15:57Zx",
                                      "2026-11-24T04:15:57+1:00"};
    char out[CLOCK_TEXT_MAX];
    int64_t ms;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(clock_parse(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
        assert_string_equal(clock_format(ms, out), good[i].printed);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(clock_parse(bad[i], &ms), -1);
    }
    assert_string_equal(clock_format(INT64_MAX, out), "9999-12-31T23:59:59.999Z");
}

static void buffers_escape_json(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_add_json_string(&b, "a\"\\\n\x01é", 7);
    assert_string_equal(b.data, "\"a\\\"\\\\\\n\\u0001é\"");
    buf_clear(&b);
    buf_addu(&b, UINT64_MAX);
    buf_addf(&b, "-%d", 7);
    assert_string_equal(b.data, "18446744073709551615-7");
    size_t len;
    char *bytes = buf_steal(&b, &len);
    assert_int_equal(len, 22);
    assert_null(b.data);
    free(bytes);
}

static void buckets_refill(void **state)
{
    (void)state;
    struct rate_bucket b = {0};
    static const struct rate_limit limit = {.per_second = 10, .burst = 30};
    int64_t retry = 0;
    for (int i = 0; i < 30; i++) {
        assert_true(rate_take(&b, &limit, 1, 1000, &retry));
    }
    assert_false(rate_take(&b, &limit, 1, 1000, &retry));
    assert_int_equal(retry, 100);
    assert_false(rate_take(&b, &limit, 1, 1099, &retry));
    assert_true(rate_take(&b, &limit, 1, 1100, &retry));
    assert_false(rate_take(&b, &limit, 31, 1000000, &retry));
    assert_true(rate_take(&b, &limit, 30, 1000000, &retry));
    assert_false(rate_take(&b, &limit, 1, 10, &retry)); /* a clock that went back gives nothing */
}

static void primitives(void **state)
{
    (void)state;
    struct arena *a = arena_new("test");
    uint8_t out[32];
    crypto_sha256("abc", 3, out);
    assert_memory_equal(
        out,
        "\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad",
        32);
    crypto_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out); /* RFC 4231, case 2 */
    assert_memory_equal(out, "\x5b\xdc\xc1\x46\xbf\x60\x75\x4e\x6a\x04\x24\x26\x08\x95\x75\xc7", 16);
    assert_int_equal(crypto_crc32("123456789", 9), 0xcbf43926u);
    char six[7], random[44];
    crypto_base62_u32(61, six);
    assert_string_equal(six, "00000z");
    crypto_random_base62(random, 43);
    assert_int_equal(strspn(random, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"), 43);
    arena_free(&a);
}

static void sealing_binds_the_place(void **state)
{
    (void)state;
    struct arena *a = arena_new("test");
    struct err e = {0};
    uint8_t key[32] = {1}, *plain;
    size_t len, n;
    uint8_t *sealed = crypto_seal(a, key, "here", 4, "secret", 6, &len);
    assert_int_equal(len, 6 + SEAL_OVERHEAD);
    assert_int_equal(crypto_open(a, key, "here", 4, sealed, len, &plain, &n, &e), 0);
    assert_int_equal(n, 6);
    assert_memory_equal(plain, "secret", 6);
    assert_int_equal(crypto_open(a, key, "there", 5, sealed, len, &plain, &n, &e), -1);
    for (size_t i = 0; i < len; i++) {
        sealed[i] ^= 1;
        assert_int_equal(crypto_open(a, key, "here", 4, sealed, len, &plain, &n, &e), -1);
        sealed[i] ^= 1;
    }
    assert_int_equal(crypto_open(a, key, "here", 4, sealed, SEAL_OVERHEAD - 1, &plain, &n, &e), -1);
    arena_free(&a);
}

static void base64url_is_strict(void **state)
{
    (void)state;
    struct arena *a = arena_new("test");
    static const char *const bad[] = {"A", "AB=", "AB", "A+==", "AA==", "AAA ", "AAB"};
    uint8_t *bytes;
    size_t len;
    for (size_t n = 0; n < 40; n++) {
        uint8_t in[40];
        crypto_random(in, n);
        char *text = crypto_base64url(a, in, n);
        assert_int_equal(crypto_base64url_read(a, text, strlen(text), &bytes, &len), 0);
        assert_int_equal(len, n);
        assert_memory_equal(bytes, in, n);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(crypto_base64url_read(a, bad[i], strlen(bad[i]), &bytes, &len), -1);
    }
    arena_free(&a);
}

static void exposition(void **state)
{
    (void)state;
    struct buf b = {0};
    metric_add(METRIC_ACKED, NULL, NULL, 3);
    metric_add(METRIC_DELIVERED, "local", NULL, 2);
    metric_observe_us(METRIC_COMMIT_SECONDS, NULL, NULL, 700);
    metrics_print(&b);
    assert_non_null(strstr(b.data, "\nparley_messages_acked_total 3\n"));
    assert_non_null(strstr(b.data, "\nparley_messages_delivered_total{path=\"local\"} 2\n"));
    assert_non_null(strstr(b.data, "parley_commit_duration_seconds_bucket{le=\"0.0005\"} 0\n"));
    assert_non_null(strstr(b.data, "parley_commit_duration_seconds_bucket{le=\"0.001\"} 1\n"));
    assert_non_null(strstr(b.data, "parley_commit_duration_seconds_bucket{le=\"+Inf\"} 1\n"));
    assert_non_null(strstr(b.data, "\nparley_messages_committed_total 0\n"));
    for (int i = 0; i < 500; i++) {
        char value[16];
        snprintf(value, sizeof(value), "r%d", i);
        metric_add(METRIC_AUTH_FAILED, value, NULL, 1);
    }
    assert_int_equal(metric_get(METRIC_AUTH_FAILED, "other", NULL), 300);
    buf_free(&b);
}

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
        cmocka_unit_test(times),      cmocka_unit_test(buffers_escape_json),        cmocka_unit_test(buckets_refill),
        cmocka_unit_test(primitives), cmocka_unit_test(sealing_binds_the_place),    cmocka_unit_test(base64url_is_strict),
        cmocka_unit_test(exposition), cmocka_unit_test(arenas_clean_up_in_reverse), cmocka_unit_test(errors_have_names),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
