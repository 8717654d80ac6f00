/* accept.h: the listener: sockets are accepted here and adopted by lws, since lws cannot share a port between processes and counts nobody's connections. */
#ifndef REALTIME_ACCEPT_H
#define REALTIME_ACCEPT_H

#include "core/err.h"

struct lws_vhost;

int accept_start(struct lws_vhost *vhost, struct err *e) __attribute__((warn_unused_result));
void accept_stop(void); /* no new sockets; may be called twice */

#endif
