/* main.c: parley-api: the REST interface. Start order: settings, specification, keys, stores, listeners; missing stores delay nothing, they only keep the process
 * from being ready. */
#include "api/after.h"
#include "api/cursor.h"
#include "api/health.h"
#include "api/limits.h"
#include "api/node.h"
#include "api/router.h"
#include "api/server.h"
#include "api/service.h"
#include "api/spec.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "storage/bus.h"
#include "storage/pg.h"
#include "storage/redis.h"
#include "tenants/apikeys.h"
#include "tenants/registry.h"
#include "tenants/tokens.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char usage[] = "usage: parley-api [--check-config | --new-admin-key | --print-config-docs | --version | --help]\n"
                            "\n"
                            "Serves the REST interface. Settings come from PARLEY_ variables; docs/CONFIG.md lists them.\n"
                            "  --check-config       read the settings, say what is wrong with them, and end: 0 good, 1 not\n"
                            "  --new-admin-key      print a fresh platform-admin key\n"
                            "  --print-config-docs  print the documentation of the settings\n";

static int complain(const struct err *e)
{
    fprintf(stderr, "parley-api: %s\n", e->msg);
    return 1;
}

/* What can be checked without a server. */
static int prepare(struct config *c, enum log_level *level_r, struct err *e)
{
    if (config_load(c, 'A', e) < 0) {
        return -1;
    }
    if (log_level_parse(c->log_level, level_r) < 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "PARLEY_LOG_LEVEL must be debug, info, warn or error, not \"%.40s\".", c->log_level);
    }
    if (spec_load(e) < 0 || service_start(e) < 0 || registry_start(c, e) < 0) {
        return -1;
    }
    return apikeys_admin_start(c, e);
}

static int option(const char *arg)
{
    struct config c;
    struct err e = {0};
    enum log_level level;
    struct apikey_text key;
    if (strcmp(arg, "--version") == 0) {
        printf("parley-api %s\n", PARLEY_VERSION);
    } else if (strcmp(arg, "--help") == 0) {
        fputs(usage, stdout);
    } else if (strcmp(arg, "--new-admin-key") == 0) {
        apikeys_generate("adm", &key);
        puts(key.text);
    } else if (strcmp(arg, "--print-config-docs") == 0) {
        config_print_docs(stdout);
    } else if (strcmp(arg, "--check-config") == 0) {
        if (prepare(&c, &level, &e) < 0) {
            return complain(&e);
        }
        puts("the configuration is good");
    } else {
        fputs(usage, stderr);
        return 2;
    }
    return 0;
}

static int start(const struct config *c, struct err *e)
{
    uint8_t key[32];
    char id[NODE_ID_MAX + 1];
    node_id(id);
    registry_derive("cursor", key);
    cursor_start(key);
    limits_start(c);
    router_start(c);
    tokens_start(c);
    redis_start(c);
    bus_start(c);
    pg_start(c, 'A', id);
    if (server_start(c, e) < 0 || after_start(e) < 0) {
        return -1;
    }
    node_beat_start(c);
    health_start();
    return 0;
}

/* ---- end ---- */

static void *end_anyway(void *ms)
{
    usleep((useconds_t)(intptr_t)ms * 1000);
    log_warn("shutdown_cut", "requests were still running when the time for shutting down was over");
    _exit(0);
}

static void shut_down(const struct config *c)
{
    pthread_t thread;
    int grace = c->shutdown_timeout;
    log_info("stopping", "stopping: no new connections, finishing what is in progress");
    if (pthread_create(&thread, NULL, end_anyway, (void *)(intptr_t)grace) == 0) {
        pthread_detach(thread);
    }
    health_drain();
    server_quiesce();
    bool finished = server_stop(grace > 500 ? grace - 500 : grace / 2);
    log_info("stopped", finished ? "stopped" : "stopped; some requests were cut off");
}

static int wait_for_end(sigset_t *set)
{
    int signal;
    while (sigwait(set, &signal) != 0) {
    }
    return signal;
}

int main(int argc, char **argv)
{
    struct config c;
    struct err e = {0};
    enum log_level level;
    char id[NODE_ID_MAX + 1];
    sigset_t set;
    if (argc > 1) {
        return option(argv[1]);
    }
    if (prepare(&c, &level, &e) < 0) {
        return complain(&e);
    }
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before any thread: they inherit it */
    node_start();
    node_id(id);
    log_start("api", id, level);
    if (start(&c, &e) < 0) {
        return complain(&e);
    }
    log_info("listening", "REST on %s:%d, operator on %s:%d", c.api_address, c.api_port, c.admin_address, c.admin_port);
    wait_for_end(&set);
    shut_down(&c);
    fflush(NULL);
    _exit(0); /* background threads still use what exit() would take apart */
}
