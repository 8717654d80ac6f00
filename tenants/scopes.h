/* scopes.h: what an API key may do. To add one: a row here. */
#ifndef TENANTS_SCOPES_H
#define TENANTS_SCOPES_H

#include "core/json.h"

#include <stdint.h>

/* clang-format off */
#define SCOPES(S) \
    S(APP_READ, "app:read") S(APP_WRITE, "app:write") S(ADMINS_WRITE, "admins:write") S(KEYS_READ, "keys:read") S(KEYS_WRITE, "keys:write") \
    S(USERS_READ, "users:read") S(USERS_WRITE, "users:write") S(TOKENS_WRITE, "tokens:write") S(GROUPS_READ, "groups:read") \
    S(GROUPS_WRITE, "groups:write") S(MESSAGES_READ, "messages:read") S(MESSAGES_WRITE, "messages:write") S(MEDIA_WRITE, "media:write") \
    S(MODERATION_WRITE, "moderation:write") S(PRESENCE_READ, "presence:read") S(GAMES_WRITE, "games:write") S(WEBHOOKS_READ, "webhooks:read") \
    S(WEBHOOKS_WRITE, "webhooks:write") S(POLICIES_READ, "policies:read") S(POLICIES_WRITE, "policies:write") S(DATA_EXPORT, "data:export") \
    S(DATA_ERASE, "data:erase") S(STATS_READ, "stats:read") S(EVENTS_READ, "events:read") S(AUDIT_READ, "audit:read")
/* clang-format on */

enum scope {
#define S(name, wire) SCOPE_##name,
    SCOPES(S)
#undef S
        SCOPE_COUNT
};

const char *scope_name(enum scope s);
uint64_t scopes_all(void);                              /* bit i = scope i */
int scopes_parse(const json_t *names, uint64_t *set_r); /* 0, or the 1-based index of the first unknown name */
json_t *scopes_json(uint64_t set);                      /* new reference */

#endif
