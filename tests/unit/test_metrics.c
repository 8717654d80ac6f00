#include "tests/unit/unit.h"

#include "core/metrics.h"

#include <pthread.h>
#include <time.h>

static struct buf page;

static int reset(void **state)
{
    (void)state;
    buf_free(&page);
    return 0;
}

static double number_after(const char *series)
{
    const char *at = strstr(page.data, series);
    if (at == NULL) {
        fail_msg("%s is missing", series);
        return -1;
    }
    return strtod(at + strlen(series), NULL);
}

static size_t occurrences(const char *what)
{
    size_t n = 0;
    for (const char *p = page.data; (p = strstr(p, what)) != NULL; p++) {
        n++;
    }
    return n;
}

static void counters_and_gauges(void **state)
{
    (void)state;
    assert_int_equal(metric_get(METRIC_BUS_MESSAGES, "in", NULL), 0);
    metric_add(METRIC_BUS_MESSAGES, "in", NULL, 2);
    metric_add(METRIC_BUS_MESSAGES, "out", NULL, 5);
    metric_add(METRIC_BUS_MESSAGES, "in", NULL, 1);
    metric_set(METRIC_READY, NULL, NULL, 1);
    metric_set(METRIC_READY, NULL, NULL, 0);
    assert_int_equal(metric_get(METRIC_BUS_MESSAGES, "in", NULL), 3);
    metrics_print(&page);
    assert_float_equal(number_after("\nparley_bus_messages_total{dir=\"in\"} "), 3, 0);
    assert_float_equal(number_after("\nparley_bus_messages_total{dir=\"out\"} "), 5, 0);
    assert_float_equal(number_after("\nparley_ready "), 0, 0);
    assert_non_null(strstr(page.data, "\n# TYPE parley_ready gauge\n"));
    assert_int_equal(occurrences("# TYPE parley_bus_messages_total counter\n"), 1);
}

static void histograms_are_cumulative(void **state)
{
    (void)state;
    static const int64_t observed[] = {0, 500, 501, 3000000, 10000000, 10000001, 60000000};
    for (size_t i = 0; i < COUNT(observed); i++) {
        metric_observe_us(METRIC_HTTP_SECONDS, "users.get", "2xx", observed[i]);
    }
    metrics_print(&page);
    static const struct {
        const char *series;
        double n;
    } expected[] = {
        {"_bucket{route=\"users.get\",status_class=\"2xx\",le=\"0.0005\"} ", 2}, /* a bound belongs to its bucket */
        {"_bucket{route=\"users.get\",status_class=\"2xx\",le=\"0.001\"} ", 3},
        {"_bucket{route=\"users.get\",status_class=\"2xx\",le=\"2.5\"} ", 3},
        {"_bucket{route=\"users.get\",status_class=\"2xx\",le=\"10\"} ", 5},
        {"_bucket{route=\"users.get\",status_class=\"2xx\",le=\"+Inf\"} ", 7},
        {"_count{route=\"users.get\",status_class=\"2xx\"} ", 7},
        {"_sum{route=\"users.get\",status_class=\"2xx\"} ", 83.001002},
    };
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_float_equal(number_after(expected[i].series), expected[i].n, 1e-6);
    }
}

static void long_values_are_one_series(void **state)
{
    (void)state;
    char value[101];
    memset(value, 'v', 100);
    value[100] = '\0';
    for (int i = 0; i < 3; i++) {
        metric_add(METRIC_DISCONNECTS, value, NULL, 1);
    }
    assert_int_equal(metric_get(METRIC_DISCONNECTS, value, NULL), 3);
    metrics_print(&page);
    assert_int_equal(occurrences("parley_disconnects_total{"), 1);
}

static void label_sets_are_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        char value[16];
        snprintf(value, sizeof(value), "r%d", i);
        metric_add(METRIC_HEAD_CHECKS, value, NULL, 1);
    }
    metrics_print(&page);
    assert_int_equal(occurrences("parley_head_checks_total{"), 201);
    assert_float_equal(number_after("parley_head_checks_total{trigger=\"other\"} "), 800, 0);
    assert_int_equal(metric_get(METRIC_HEAD_CHECKS, "r0", NULL), 1);
}

static void *add_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20000; i++) {
        char value[8];
        snprintf(value, sizeof(value), "e%d", i % 50);
        metric_add(METRIC_EVENTS_RECEIVED, value, NULL, 1);
        metric_add(METRIC_COMMITTED, NULL, NULL, 1);
    }
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(metric_get(METRIC_COMMITTED, NULL, NULL), 80000);
    assert_int_equal(metric_get(METRIC_EVENTS_RECEIVED, "e7", NULL), 1600);
    metrics_print(&page);
    assert_int_equal(occurrences("parley_events_received_total{"), 50);
}

static void the_process_describes_itself(void **state)
{
    (void)state;
    metrics_print(&page);
    assert_true(number_after("\nprocess_resident_memory_bytes ") > 100000);
    assert_true(number_after("\nprocess_open_fds ") >= 3);
    double started = number_after("\nprocess_start_time_seconds "), now = (double)time(NULL);
    assert_true(started > now - 600 && started < now + 2);
    assert_non_null(strstr(page.data, "\nparley_build_info{version=\""));
    assert_int_equal(page.data[page.len - 1], '\n');
    for (const char *line = page.data; *line != '\0'; line = strchr(line, '\n') + 1) { /* each line is a comment or a sample */
        assert_true(strncmp(line, "# ", 2) == 0 || strncmp(line, "parley_", 7) == 0 || strncmp(line, "process_", 8) == 0);
    }
}

static void the_heap_is_what_is_not_freed(void **state)
{
    (void)state;
    metrics_print(&page);
    double before = number_after("\nparley_heap_bytes ");
    void *block = malloc(3000000);
    assert_non_null(block);
    buf_clear(&page);
    metrics_print(&page);
    assert_true(number_after("\nparley_heap_bytes ") >= before + 3000000);
    free(block);
    buf_clear(&page);
    metrics_print(&page);
    assert_true(number_after("\nparley_heap_bytes ") < before + 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(counters_and_gauges, reset),           cmocka_unit_test_setup(histograms_are_cumulative, reset),
        cmocka_unit_test_setup(long_values_are_one_series, reset),    cmocka_unit_test_setup(label_sets_are_bounded, reset),
        cmocka_unit_test_setup(threads_lose_nothing, reset),          cmocka_unit_test_setup(the_process_describes_itself, reset),
        cmocka_unit_test_setup(the_heap_is_what_is_not_freed, reset),
    };
    int failed = cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
    buf_free(&page);
    return failed;
}
