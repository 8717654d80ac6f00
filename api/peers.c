#include "api/peers.h"

#include "core/clock.h"
#include "core/log.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
    struct peer *next, **link;
    int fd;
    int64_t since_ms;
};

static struct peer *peers;
static int count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct peer *peers_add(int fd)
{
    struct peer *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return NULL;
    }
    p->fd = fd;
    p->since_ms = clock_mono_ms();
    pthread_mutex_lock(&lock);
    p->next = peers;
    p->link = &peers;
    if (peers != NULL) {
        peers->link = &p->next;
    }
    peers = p;
    count++;
    pthread_mutex_unlock(&lock);
    return p;
}

void peers_step(struct peer *p)
{
    if (p != NULL) {
        pthread_mutex_lock(&lock);
        p->since_ms = clock_mono_ms();
        pthread_mutex_unlock(&lock);
    }
}

void peers_remove(struct peer *p)
{
    if (p == NULL) {
        return;
    }
    pthread_mutex_lock(&lock);
    *p->link = p->next;
    if (p->next != NULL) {
        p->next->link = p->link;
    }
    count--;
    pthread_mutex_unlock(&lock);
    free(p);
}

int peers_count(void)
{
    pthread_mutex_lock(&lock);
    int n = count;
    pthread_mutex_unlock(&lock);
    return n;
}

/* The owner sees the end of the connection and removes the peer; here only the stream is shut. */
static void shut_late(void)
{
    int64_t now = clock_mono_ms();
    int shut = 0;
    pthread_mutex_lock(&lock);
    for (struct peer *p = peers; p != NULL; p = p->next) {
        if (now - p->since_ms > PEER_STEP_MS) {
            shutdown(p->fd, SHUT_RDWR);
            shut++;
        }
    }
    pthread_mutex_unlock(&lock);
    if (shut > 0) {
        log_debug("slow_peers", "%d connections past their deadline", shut);
    }
}

static void *watch(void *unused)
{
    (void)unused;
    for (;;) {
        usleep(500 * 1000);
        shut_late();
    }
    return NULL;
}

void peers_start(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, watch, NULL) != 0) {
        log_error("no_thread", "cannot start the watch over slow peers");
        abort();
    }
    pthread_detach(thread);
}
