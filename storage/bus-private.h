/* bus-private.h: what the faces of the bus share. Readers: storage/bus*.c, tests.
 *
 * A frame is a header line and items. The line is "<publisher> <number>\n" for items, "<publisher> =<number>\n" for a publisher's word that <number> was its last
 * frame to this node, "<node> !<ms>\n" for a node's heartbeat to itself (its monotonic clock). Frames on p1:bus:all have number 0. */
#ifndef STORAGE_BUS_PRIVATE_H
#define STORAGE_BUS_PRIVATE_H

#include "core/arena.h"
#include "storage/bus.h"

#define BUS_FRAME_MAX 1048576 /* encoded items of one script call; one item alone may be larger */
#define BUS_SENT_TTL "86400"  /* seconds that a publisher's numbers are kept */

struct bus_header {
    char publisher[NODE_ID_MAX + 1];
    char kind; /* ' ', '=' or '!' */
    int64_t number;
};
int bus_header_parse(const char *p, size_t len, size_t *used_r, struct bus_header *h_r) __attribute__((warn_unused_result));

/* Calls fn for each item in order. Stops at the first that is forged or cut: counted in BUS_REFUSED. */
void bus_each(const char *p, size_t len, void (*fn)(const struct bus_item *item, void *ctx), void *ctx);

/* Items of one script call, gathered by conversation in the order given: blobs[i] goes to the nodes of (apps[i], convs[i]). */
struct bus_gathered {
    int count;
    struct app_id *apps;
    struct conv_id *convs;
    struct buf *blobs;
};
/* Takes as many of the n items as fit BUS_FRAME_MAX; returns how many (at least 1 of n >= 1). The blobs are freed with the arena. */
int bus_gather(struct arena *a, const struct bus_item *items, int n, struct bus_gathered *g_r);

/* Counts a publish that failed or whose outcome is unknown: bus_failures(). */
void bus_failed(const char *why);

#endif
