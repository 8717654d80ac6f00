/* main.c: parley-realtime: the Socket.IO gateway. Start order: settings, keys, stores (which connect by themselves), loop, event side, listeners. The end, on SIGTERM
 * or SIGINT: not ready, no new connections, the event side finishes what it has begun, close frames, exit. */
#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "realtime/admin.h"
#include "realtime/gateway.h"
#include "realtime/loop.h"
#include "realtime/relay.h"
#include "realtime/session.h"
#include "storage/bus.h"
#include "storage/leases.h"
#include "storage/pg.h"
#include "storage/redis.h"
#include "tenants/registry.h"
#include "tenants/tokens.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define EXIT_AGAIN 75     /* EX_TEMPFAIL: start me again */
#define FILES_MAX 1048576 /* libwebsockets has tables of this size */

static const char usage[] = "usage: parley-realtime [--check-config | --version | --help]\n"
                            "\n"
                            "Serves Socket.IO. Settings come from PARLEY_ variables; docs/CONFIG.md lists them.\n"
                            "  --check-config  read the settings, say what is wrong with them, and end: 0 good, 1 not\n";

static struct config config;
static uv_signal_t terminate, interrupt;
static struct loop_timer hurry;
static bool closing;
static int exit_code;

static int complain(const struct err *e)
{
    fprintf(stderr, "parley-realtime: %s\n", e->msg);
    return 1;
}

/* What can be checked without a server. */
static int prepare(enum log_level *level_r, struct err *e)
{
    if (config_load(&config, 'R', e) < 0) {
        return -1;
    }
    if (log_level_parse(config.log_level, level_r) < 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "PARLEY_LOG_LEVEL must be debug, info, warn or error, not \"%.40s\".", config.log_level);
    }
    return registry_start(&config, e);
}

static int option(const char *arg)
{
    struct err e = {0};
    enum log_level level;
    if (strcmp(arg, "--version") == 0) {
        printf("parley-realtime %s\n", PARLEY_VERSION);
    } else if (strcmp(arg, "--help") == 0) {
        fputs(usage, stdout);
    } else if (strcmp(arg, "--check-config") == 0) {
        if (prepare(&level, &e) < 0) {
            return complain(&e);
        }
        puts("the configuration is good");
    } else {
        fputs(usage, stderr);
        return 2;
    }
    return 0;
}

/* ---- end ---- */

static void *end_anyway(void *ms)
{
    usleep((useconds_t)(intptr_t)ms * 1000);
    log_warn("shutdown_cut", "work was still running when the time for shutting down was over");
    _exit(exit_code);
}

static void on_gateway_stopped(void)
{
    admin_stop();
    uv_close((uv_handle_t *)&terminate, NULL);
    uv_close((uv_handle_t *)&interrupt, NULL);
    loop_stop();
}

/* Time to close the transports: the event side is done, or will not be in time. */
static void close_transports(void)
{
    if (!closing) {
        closing = true;
        loop_timer_stop(&hurry);
        gateway_stop(config.shutdown_timeout / 4, on_gateway_stopped);
    }
}

static void on_hurry(struct loop_timer *t)
{
    (void)t;
    close_transports();
}

static void on_signal(uv_signal_t *unused, int signal)
{
    (void)unused;
    pthread_t thread;
    if (node.draining) {
        return;
    }
    node.draining = true;
    exit_code = session_failed() ? EXIT_AGAIN : 0;
    metric_set(METRIC_READY, NULL, NULL, 0);
    log_info("stopping", "signal %d: no new connections, finishing what is in progress", signal);
    if (pthread_create(&thread, NULL, end_anyway, (void *)(intptr_t)config.shutdown_timeout) == 0) {
        pthread_detach(thread);
    }
    gateway_stop_listening();
    loop_timer_start(&hurry, config.shutdown_timeout / 2, on_hurry);
    session_stop(close_transports);
}

/* ---- start ---- */

static void raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max < FILES_MAX ? r.rlim_max : FILES_MAX;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static void start_stores(void)
{
    lease_node_id(node.id);
    tokens_start(&config);
    redis_start(&config);
    bus_start(&config);
    pg_start(&config, 'R', node.id);
    pg_forbid_on_this_thread();
}

static int start(uv_loop_t *loop, enum log_level level, struct err *e)
{
    node.config = &config;
    node.loop = loop;
    node.started_ms = clock_wall_ms();
    start_stores();
    log_start("realtime", node.id, level);
    loop_init(loop, config.workers);
    uv_signal_init(loop, &terminate);
    uv_signal_init(loop, &interrupt);
    uv_signal_start(&terminate, on_signal, SIGTERM);
    uv_signal_start(&interrupt, on_signal, SIGINT);
    if (gateway_init(e) < 0 || relay_start(e) < 0 || session_start(e) < 0 || admin_start(e) < 0) {
        return -1;
    }
    return gateway_listen(e);
}

int main(int argc, char **argv)
{
    static uv_loop_t loop;
    struct err e = {0};
    enum log_level level;
    if (argc > 1) {
        return option(argv[1]);
    }
    if (prepare(&level, &e) < 0) {
        return complain(&e);
    }
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    uv_loop_init(&loop);
    if (start(&loop, level, &e) < 0) {
        complain(&e);
        fflush(NULL);
        _exit(1); /* threads are running */
    }
    log_info("listening", "Socket.IO on %s:%d, operator on %s:%d, other gateways at %s", config.realtime_address, config.realtime_port,
             config.admin_address, config.realtime_admin_port, relay_address());
    uv_run(&loop, UV_RUN_DEFAULT);
    int busy = uv_loop_close(&loop);
    log_info("stopped", busy == 0 ? "stopped" : "stopped; handles were left open");
    return exit_code;
}
