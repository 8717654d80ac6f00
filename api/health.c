#include "api/health.h"

#include "core/buf.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "storage/pg.h"
#include "storage/redis.h"

#include <pthread.h>
#include <unistd.h>

#define EVERY_MS 500
#define STALE_MS 2000

enum check { CHECK_POSTGRES, CHECK_SCHEMA, CHECK_REDIS, CHECK_SERVING, CHECKS };
static const char *const names[CHECKS] = {"postgres", "schema", "redis", "serving"};

static struct {
    pthread_mutex_t lock;
    bool ok[CHECKS];
    char why[CHECKS][160];
    int64_t at_ms;
    bool looked, started, was_ready;
} health = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note(enum check check, bool ok, const char *why)
{
    pthread_mutex_lock(&health.lock);
    health.ok[check] = ok;
    snprintf(health.why[check], sizeof(health.why[check]), "%s", ok ? "" : why);
    health.at_ms = clock_mono_ms();
    pthread_mutex_unlock(&health.lock);
}

static void look(void)
{
    struct err e = {0};
    bool postgres = pg_ping(1000, &e) == 0;
    note(CHECK_POSTGRES, postgres, e.msg);
    bool schema = postgres && pg_schema_current(&e) == 0;
    note(CHECK_SCHEMA, schema, e.msg);
    note(CHECK_REDIS, redis_ping(&e) == 0, e.msg);
}

static void report_change(void)
{
    bool ready = health_ready(NULL, NULL, NULL);
    pthread_mutex_lock(&health.lock);
    bool changed = ready != health.was_ready;
    health.looked = true;
    health.was_ready = ready;
    health.started = health.started || ready;
    pthread_mutex_unlock(&health.lock);
    metric_set(METRIC_READY, NULL, NULL, ready);
    if (changed && ready) {
        log_info("ready", "ready");
    } else if (changed) {
        log_warn("not_ready", "not ready");
    }
}

static void *watch(void *unused)
{
    (void)unused;
    for (;;) {
        look();
        report_change();
        usleep(EVERY_MS * 1000);
    }
    return NULL;
}

void health_start(void)
{
    pthread_t thread;
    note(CHECK_SERVING, true, "");
    if (pthread_create(&thread, NULL, watch, NULL) != 0) {
        log_error("no_thread", "cannot start the health checks");
        abort();
    }
    pthread_detach(thread);
}

void health_drain(void)
{
    note(CHECK_SERVING, false, "shutting down");
}

static bool excluded(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *p = list; p != NULL && *p != '\0';) {
        size_t n = strcspn(p, ",");
        if (n == len && memcmp(p, name, len) == 0) {
            return true;
        }
        p += n + (p[n] == ',');
    }
    return false;
}

bool health_ready(struct arena *a, const char *exclude, const char **text_r)
{
    struct buf text = {0};
    pthread_mutex_lock(&health.lock);
    bool fresh = clock_mono_ms() - health.at_ms < STALE_MS, ready = true;
    for (int i = 0; i < CHECKS; i++) {
        bool skip = excluded(exclude, names[i]), ok = health.ok[i] && (fresh || i == CHECK_SERVING);
        ready = ready && (ok || skip);
        if (text_r != NULL) {
            const char *why = health.ok[i] ? "does not answer" : health.why[i];
            buf_addf(&text, ok ? "[+]%s ok%s%s" : "[-]%s %s%s", names[i], ok ? "" : why, skip ? " (excluded)" : "");
            buf_addc(&text, '\n');
        }
    }
    pthread_mutex_unlock(&health.lock);
    if (text_r != NULL) {
        buf_addf(&text, "%s\n", ready ? "ready" : "not ready");
        *text_r = arena_strdup(a, text.data);
        buf_free(&text);
    }
    return ready;
}

bool health_started(void)
{
    pthread_mutex_lock(&health.lock);
    bool started = health.started;
    pthread_mutex_unlock(&health.lock);
    return started;
}

bool health_storage_away(void)
{
    pthread_mutex_lock(&health.lock);
    bool away = health.looked && !health.ok[CHECK_POSTGRES];
    pthread_mutex_unlock(&health.lock);
    return away;
}
