/* server.h: libmicrohttpd between the sockets and the router: two listeners, bodies, guards against request smuggling and slow peers. */
#ifndef API_SERVER_H
#define API_SERVER_H

#include "core/config.h"
#include "core/err.h"

#include <stdbool.h>

/* Binds both listeners and serves. -1 and *e names the setting to change when an address cannot be had. */
int server_start(const struct config *c, struct err *e) __attribute__((warn_unused_result));

/* Accepts no more connections; every reply from now on closes its connection. */
void server_quiesce(void);

/* Waits up to timeout_ms until no request is in progress, then closes everything. True: nothing was cut off. */
bool server_stop(int timeout_ms);

#endif
