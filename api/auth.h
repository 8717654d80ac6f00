/* auth.h: who asks: the credential of a request and what it may do on its route. */
#ifndef API_AUTH_H
#define API_AUTH_H

#include "api/req.h"

/* Settles caller, tenant and scopes of r by its route, and checks scope and feature. Refused credentials are counted per address. -1: the 401s and 403s of the
 * catalogue, RATE_LIMITED after too many refusals, STORAGE_UNAVAILABLE. */
int auth_check(struct req *r, struct err *e) __attribute__((warn_unused_result));

#endif
