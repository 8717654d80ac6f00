/* gateway.h: the Socket.IO listener: Engine.IO over libwebsockets on the loop of node.loop, with its settings from node.config. */
#ifndef REALTIME_GATEWAY_H
#define REALTIME_GATEWAY_H

#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>

#define GATEWAY_PATHS_MAX 4

/* May be changed before gateway_init(). Paths come without their trailing slash; a link knows which one it came by. */
struct gateway_setup {
    const char *paths[GATEWAY_PATHS_MAX]; /* up to the first NULL */
    const char *also;                     /* a second numeric address to listen on, if the machine has it; or NULL */
    /* Sees the query of each request, decoded "key=value" by "key=value" from i = 0 on, before a link is made of it; or NULL. */
    void (*on_pair)(int i, const char *pair, size_t len);
};
extern struct gateway_setup gateway_setup;

int gateway_init(struct err *e) __attribute__((warn_unused_result));   /* everything but listening */
int gateway_listen(struct err *e) __attribute__((warn_unused_result)); /* SO_REUSEPORT */
void gateway_stop_listening(void);                                     /* live sessions go on */
/* Closes all sessions (WebSocket close code 1001), waits up to wait_ms for the peers, releases everything, calls done. */
void gateway_stop(int wait_ms, void (*done)(void));

#endif
