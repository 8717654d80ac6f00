/* bus_loop.h: the inside of struct bus. bus_loop.c: its life, links, timers and what it tells its owner; bus_frames.c: what goes over the links.
 * Readers: those two. */
#ifndef STORAGE_BUS_LOOP_H
#define STORAGE_BUS_LOOP_H

#include "storage/bus-private.h"
#include "storage/redis_link.h"

#define BUS_NODES_MAX 256   /* publishers and receivers remembered; the one longest unheard of makes room */
#define BUS_RECENT_MS 10000 /* a node sent to within this time is told the last number each second */

struct bus_node {
    char name[NODE_ID_MAX + 1];
    int64_t number; /* of the last frame (publishers) */
    int64_t at_ms;  /* when it was heard of, or sent to */
};
struct bus_nodes {
    struct bus_node node[BUS_NODES_MAX];
    int count;
};

/* One call of bus_attach(), possibly of several commands. */
struct bus_attach_call {
    struct bus_attach_call *next;
    struct bus *bus;
    int left; /* commands without an answer */
    bool ok;
    void (*done)(bool ok, void *ctx);
    void *ctx;
};

struct bus {
    uv_loop_t *loop;
    char node[NODE_ID_MAX + 1];
    struct bus_callbacks cb;
    struct redis_address address;
    const char *password;

    struct redis_link *commands, *subscriber;
    bool commands_ready; /* scripts loaded */
    int subscriptions;   /* confirmed, of 2 */
    bool up, told_up, down_logged;
    int64_t opened_ms, up_ms, ticked_ms;
    int64_t heard_ms; /* when the newest heartbeat to itself was sent */
    int backoff_ms;

    char incarnation[41]; /* "" = not known yet */
    int64_t attached;

    struct bus_nodes publishers, receivers;

    uv_timer_t pulse, retry, later;
    const char *doubt; /* not told yet, or NULL */
    int64_t doubted_ms;
    struct bus_attach_call *answered, **answered_end;

    bool closing;
    int handles;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* bus_loop.c */
void bus_doubt(struct bus *b, const char *why);
void bus_drop(struct bus *b, const char *why); /* closes the links; they come back after a pause */
void bus_heard_itself(struct bus *b, int64_t sent_ms);
void bus_answered(struct bus *b, struct bus_attach_call *call); /* its done() runs in a later turn */

/* bus_frames.c */
void bus_load_scripts(struct bus *b); /* then commands_ready */
void bus_subscribe(struct bus *b);
void bus_pushed(struct bus *b, const redisReply *r);
void bus_tick(struct bus *b, int64_t now_ms);

#endif
