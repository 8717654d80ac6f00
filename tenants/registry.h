/* registry.h: hands out tenants. A cache of apps, refreshed after 5 s and dropped at once by registry_invalidate() (the bus); a database that is away
 * keeps the last known state alive for as long as it is away. Thread-safe. Blocks on a miss: not for the loop thread. */
#ifndef TENANTS_REGISTRY_H
#define TENANTS_REGISTRY_H

#include "core/arena.h"
#include "core/config.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"

/* Once: remembers the master key. -1 when it is missing or malformed. */
int registry_start(const struct config *c, struct err *e) __attribute__((warn_unused_result));

/* The tenant of an app that a verified credential named; released with the arena. 0; -1: ERR_APP_SUSPENDED (suspended or deleted), ERR_NOT_FOUND,
 * ERR_STORAGE_UNAVAILABLE. */
int registry_get(struct arena *a, const struct app_id *app, const struct tenant **t_r, struct err *e) __attribute__((warn_unused_result));

/* The same whatever the app's status is, for whoever has not verified a credential yet: 1, 0 (no such app), -1 ERR_STORAGE_UNAVAILABLE. The caller must check
 * tenant_active() before acting for it; registry_inactive() says why it may not. */
int registry_find(struct arena *a, const struct app_id *app, const struct tenant **t_r, struct err *e) __attribute__((warn_unused_result));
int registry_inactive(const struct tenant *t, struct err *e);

/* Without I/O: the newest known state of t's app with one more reference (tenant_unref it), or t itself. For long-lived connections, on the loop thread. */
struct tenant *registry_current(const struct tenant *t);

void registry_invalidate(const struct app_id *app); /* all zero bits: every app */

/* For operator and provisioning code: a new app's sealed id key; opening and sealing signing secrets, bound to (app, what). */
uint8_t *registry_seal(struct arena *a, const struct app_id *app, const char *what, const void *secret, size_t len, size_t *len_r);
int registry_open(struct arena *a, const struct app_id *app, const char *what, const void *sealed, size_t len, uint8_t **secret_r,
                  size_t *len_r, struct err *e) __attribute__((warn_unused_result));

/* 32 bytes derived from the master key for one purpose ("cursor", "bus", …). */
void registry_derive(const char *purpose, uint8_t out[32]);

/* Validates what PATCH may put into an app (features known and booleans, limits known and from 1 to what an app may have at most, origins well-formed). */
int registry_check_settings(const json_t *features, const json_t *limits, const json_t *origins, struct err *e)
    __attribute__((warn_unused_result));

#endif
