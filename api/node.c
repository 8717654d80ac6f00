#include "api/node.h"

#include "core/arena.h"
#include "core/log.h"
#include "storage/bus.h"
#include "storage/leases.h"

#include <pthread.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    char id[NODE_ID_MAX + 1];
    char address[80];
} node = {.lock = PTHREAD_MUTEX_INITIALIZER};

void node_start(void)
{
    pthread_mutex_lock(&node.lock);
    lease_node_id(node.id);
    pthread_mutex_unlock(&node.lock);
}

void node_id(char out[NODE_ID_MAX + 1])
{
    pthread_mutex_lock(&node.lock);
    memcpy(out, node.id, sizeof(node.id));
    pthread_mutex_unlock(&node.lock);
}

static void beat_once(uint64_t *failures)
{
    struct arena *a = arena_new("lease");
    struct err e = {0};
    char id[NODE_ID_MAX + 1];
    uint64_t now = bus_failures();
    node_id(id);
    int result = lease_beat(a, id, "api", node.address, now != *failures, &e);
    if (result == 0) {
        *failures = now;
    } else if (result == 1) {
        log_warn("lease_lost", "the lease of node %s was closed; going on under a new id", id);
        node_start();
    } else {
        log_debug("lease_unwritten", "%s", e.msg);
    }
    arena_free(&a);
}

static void *beat(void *unused)
{
    uint64_t failures = 0;
    (void)unused;
    for (;;) {
        beat_once(&failures);
        sleep(1);
    }
    return NULL;
}

void node_beat_start(const struct config *c)
{
    pthread_t thread;
    snprintf(node.address, sizeof(node.address), "%s:%d", c->api_address, c->api_port);
    if (pthread_create(&thread, NULL, beat, NULL) != 0) {
        log_error("no_thread", "cannot start the renewal of the lease");
        abort();
    }
    pthread_detach(thread);
}
