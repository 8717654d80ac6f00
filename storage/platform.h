/* platform.h: the capability to act on apps as such: list and make them, find the owner of an API key. Runs as role parley_platform, which sees
 * apps and keys and nothing else. Held by the admin routes of parley-api and by tenants/apikeys.c. */
#ifndef STORAGE_PLATFORM_H
#define STORAGE_PLATFORM_H

struct platform;

/* The one value; whoever calls this claims to be the operator's listener or the key look-up (make check-layers names the callers). */
const struct platform *platform_get(void);

#endif
