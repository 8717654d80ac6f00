#include "core/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
size_t __sanitizer_get_current_allocated_bytes(void); /* of its allocator_interface.h, which gcc does not install */
#endif

#define SERIES_MAX 200 /* label sets a metric; further ones are counted as "other" */
#define VALUE_MAX 63

enum kind { COUNTER, GAUGE, HISTOGRAM };

static const struct {
    enum kind kind;
    const char *name, *label1, *label2, *help;
} metrics[METRIC_COUNT] = {
#define M(name, kind, text, label1, label2, help) [METRIC_##name] = {kind, text, label1, label2, help},
    METRICS(M)
#undef M
};

static const int64_t bounds_us[] = {500,    1000,   2500,   5000,    10000,   25000,   50000,
                                    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};
#define BUCKETS (sizeof(bounds_us) / sizeof(bounds_us[0]))

/* Written once under the lock, then only its atomics change, so that readers walk the list without one. */
struct series {
    struct series *_Atomic next;
    char value1[VALUE_MAX + 1], value2[VALUE_MAX + 1];
    _Atomic int64_t n; /* counter, gauge; histogram: observations */
    _Atomic int64_t sum_us;
    _Atomic int64_t buckets[BUCKETS + 1]; /* the last: longer than all bounds */
};

static struct series *_Atomic first[METRIC_COUNT];
static int series_count[METRIC_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct series *find(enum metric m, const char *v1, const char *v2)
{
    for (struct series *s = atomic_load(&first[m]); s != NULL; s = atomic_load(&s->next)) {
        if (strncmp(s->value1, v1, VALUE_MAX) == 0 && strncmp(s->value2, v2, VALUE_MAX) == 0) {
            return s;
        }
    }
    return NULL;
}

static struct series *series_of(enum metric m, const char *v1, const char *v2)
{
    v1 = v1 != NULL ? v1 : "";
    v2 = v2 != NULL ? v2 : "";
    struct series *s = find(m, v1, v2);
    if (s != NULL) {
        return s;
    }
    pthread_mutex_lock(&lock);
    if (series_count[m] >= SERIES_MAX) {
        v1 = metrics[m].label1 != NULL ? "other" : "";
        v2 = metrics[m].label2 != NULL ? "other" : "";
    }
    s = find(m, v1, v2);
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            fputs("out of memory: metrics\n", stderr);
            abort();
        }
        snprintf(s->value1, sizeof(s->value1), "%s", v1);
        snprintf(s->value2, sizeof(s->value2), "%s", v2);
        atomic_store(&s->next, atomic_load(&first[m]));
        atomic_store(&first[m], s);
        series_count[m]++;
    }
    pthread_mutex_unlock(&lock);
    return s;
}

void metric_add(enum metric m, const char *value1, const char *value2, int64_t n)
{
    atomic_fetch_add_explicit(&series_of(m, value1, value2)->n, n, memory_order_relaxed);
}

void metric_set(enum metric m, const char *value1, const char *value2, int64_t n)
{
    atomic_store_explicit(&series_of(m, value1, value2)->n, n, memory_order_relaxed);
}

int64_t metric_get(enum metric m, const char *value1, const char *value2)
{
    struct series *s = find(m, value1 != NULL ? value1 : "", value2 != NULL ? value2 : "");
    return s == NULL ? 0 : atomic_load(&s->n);
}

void metric_observe_us(enum metric m, const char *value1, const char *value2, int64_t us)
{
    assert(metrics[m].kind == HISTOGRAM);
    struct series *s = series_of(m, value1, value2);
    size_t i = 0;
    while (i < BUCKETS && us > bounds_us[i]) {
        i++;
    }
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->n, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->sum_us, us, memory_order_relaxed);
}

static void print_labels(struct buf *out, enum metric m, const struct series *s, int64_t le_us, bool le)
{
    const char *names[2] = {metrics[m].label1, metrics[m].label2}, *values[2] = {s->value1, s->value2};
    char sep = '{';
    for (int i = 0; i < 2; i++) {
        if (names[i] != NULL) {
            buf_addc(out, sep);
            buf_addf(out, "%s=", names[i]);
            buf_add_json_string(out, values[i], strlen(values[i]));
            sep = ',';
        }
    }
    if (le) {
        buf_addf(out, le_us < 0 ? "%cle=\"+Inf\"" : "%cle=\"%g\"", sep, (double)le_us / 1e6);
        sep = ',';
    }
    if (sep == ',') {
        buf_addc(out, '}');
    }
}

static void print_histogram(struct buf *out, enum metric m, struct series *s)
{
    int64_t below = 0; /* the count is the sum of the buckets, so that they agree while others observe */
    for (size_t i = 0; i < BUCKETS; i++) {
        below += atomic_load(&s->buckets[i]);
        buf_addf(out, "%s_bucket", metrics[m].name);
        print_labels(out, m, s, bounds_us[i], true);
        buf_addf(out, " %lld\n", (long long)below);
    }
    long long n = below + atomic_load(&s->buckets[BUCKETS]);
    buf_addf(out, "%s_bucket", metrics[m].name);
    print_labels(out, m, s, -1, true);
    buf_addf(out, " %lld\n%s_sum", n, metrics[m].name);
    print_labels(out, m, s, 0, false);
    buf_addf(out, " %.6f\n%s_count", (double)atomic_load(&s->sum_us) / 1e6, metrics[m].name);
    print_labels(out, m, s, 0, false);
    buf_addf(out, " %lld\n", n);
}

static void print_metric(struct buf *out, enum metric m)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", metrics[m].name, metrics[m].help, metrics[m].name, kinds[metrics[m].kind]);
    if (metrics[m].label1 == NULL) {
        series_of(m, NULL, NULL);
    }
    for (struct series *s = atomic_load(&first[m]); s != NULL; s = atomic_load(&s->next)) {
        if (metrics[m].kind == HISTOGRAM) {
            print_histogram(out, m, s);
            continue;
        }
        buf_adds(out, metrics[m].name);
        print_labels(out, m, s, 0, false);
        buf_addf(out, " %lld\n", (long long)atomic_load(&s->n));
    }
}

static long count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    long n = -3; /* ".", ".." and the directory itself */
    while (d != NULL && readdir(d) != NULL) {
        n++;
    }
    if (d != NULL) {
        closedir(d);
    }
    return n < 0 ? 0 : n;
}

/* Seconds since the epoch at which this process was started; 0 when /proc does not tell. */
static double start_time(void)
{
    char line[1024];
    unsigned long long ticks = 0;
    FILE *f = fopen("/proc/self/stat", "re");
    if (f == NULL) {
        return 0;
    }
    size_t n = fread(line, 1, sizeof(line) - 1, f);
    fclose(f);
    line[n] = '\0';
    /* Behind the name, which may hold anything, stand the state and 18 numbers; then the start in ticks since boot. */
    const char *p = strrchr(line, ')');
    if (p == NULL || sscanf(p + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &ticks) != 1) {
        return 0;
    }
    struct timespec now, up;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    double boot = (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) / 1e9;
    return boot + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* Bytes that are allocated now: unlike the resident memory they come back to what they were. */
static size_t heap_bytes(void)
{
#ifdef __SANITIZE_ADDRESS__
    return __sanitizer_get_current_allocated_bytes();
#else
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
#endif
}

static void print_process(struct buf *out)
{
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        if (fscanf(f, "%ld %ld", &pages, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    buf_addf(out, "# HELP parley_heap_bytes Memory allocated and not freed\n# TYPE parley_heap_bytes gauge\nparley_heap_bytes %zu\n",
             heap_bytes());
    buf_addf(
        out,
        "# HELP process_resident_memory_bytes Resident memory\n# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes "
        "%ld\n"
        "# HELP process_open_fds Open descriptors\n# TYPE process_open_fds gauge\nprocess_open_fds %ld\n"
        "# HELP process_cpu_seconds_total User and system time\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.3f\n"
        "# HELP process_start_time_seconds Start of the process since the epoch\n# TYPE process_start_time_seconds "
        "gauge\nprocess_start_time_seconds %.2f\n",
        resident * sysconf(_SC_PAGESIZE), count_descriptors(), cpu, start_time());
}

#ifndef PARLEY_COMMIT
#define PARLEY_COMMIT "unknown"
#endif

void metrics_print(struct buf *out)
{
    buf_adds(out, "# HELP parley_build_info Version of this program\n# TYPE parley_build_info gauge\n"
                  "parley_build_info{version=\"" PARLEY_VERSION "\",commit=\"" PARLEY_COMMIT "\"} 1\n");
    for (int m = 0; m < METRIC_COUNT; m++) {
        print_metric(out, (enum metric)m);
    }
    print_process(out);
}
