/* router.h: what happens to every request, in this order: match, authenticate, scope, feature, rate, size, content type, schema of path, query and body, handler,
 * reply. */
#ifndef API_ROUTER_H
#define API_ROUTER_H

#include "api/req.h"
#include "core/config.h"

/* Once, before requests. PARLEY_TEST_CHECK_REPLIES=1 makes every reply be checked against the specification. */
void router_start(const struct config *c);

/* The request line and the headers are there: everything up to the content type. Afterwards r->reply.status is 0 when the body is wanted. */
void router_head(struct req *r, int64_t announced_length);

/* The whole body is there (len 0: none): checks it, runs the handler, completes the reply. Never called when router_head() has replied. */
void router_body(struct req *r, const char *body, size_t len);

/* Makes an error the complete reply: for what the server finds wrong itself. */
void router_refuse(struct req *r, const struct err *e);

/* Counts and times the request, once, when its reply is complete. */
void router_done(struct req *r);

#endif
