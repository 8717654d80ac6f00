/* after.h: what the others must hear once a change is committed. Failures are logged and never fail the request: caches age, and gateways compare heads. */
#ifndef API_AFTER_H
#define API_AFTER_H

#include "core/arena.h"
#include "core/json.h"
#include "core/tenant.h"
#include "storage/outbox.h"

/* Once: listens for what other processes changed. */
int after_start(struct err *e) __attribute__((warn_unused_result));
void after_stop(void);

/* Caches, here and everywhere. */
void after_app(const struct app_id *app);
void after_keys(const struct app_id *app);
void after_tokens(const struct app_id *app, const struct user_id *user); /* user NULL: of all users */
void after_user(const struct app_id *app, const struct user_id *user);

/* A committed entry goes to the nodes of its conversation. */
void after_entry(const struct append *row);

/* Tells users that a conversation came ("conversation.added") or went ("conversation.removed"); their gateways read their memberships anew. */
void after_membership(const struct tenant *t, struct arena *a, const struct user_id *users, int n, const char *event,
                      const json_t *payload);

#endif
