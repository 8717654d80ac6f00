/* listen.h: a listening socket, with messages that name the setting to change. */
#ifndef API_LISTEN_H
#define API_LISTEN_H

#include "core/err.h"

/* Binds a numeric IPv4 or IPv6 address. `variables`: "PARLEY_API" for PARLEY_API_ADDRESS and PARLEY_API_PORT. The descriptor, or -1. */
int listen_on(const char *address, int port, const char *variables, struct err *e) __attribute__((warn_unused_result));

#endif
