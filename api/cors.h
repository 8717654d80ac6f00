/* cors.h: browsers: which origins may call operations that take a user token. */
#ifndef API_CORS_H
#define API_CORS_H

#include "api/req.h"

/* origins: "*" or a comma-separated list. */
void cors_start(const char *origins);

/* The reply to OPTIONS: 204 with Allow, and the CORS fields when r->route (that of Access-Control-Request-Method) takes a user token. */
void cors_preflight(struct req *r, const char *allow);

/* Adds the fields that let the page read the reply. */
void cors_reply(struct req *r);

#endif
