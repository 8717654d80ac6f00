/* tenant.h: the capability to act for one app.
 *
 * Incomplete on purpose: only tenants/registry.c makes one, from a verified credential; every storage function takes it first and binds the app
 * from it. Reference-counted and immutable: a refresh makes a new one. */
#ifndef CORE_TENANT_H
#define CORE_TENANT_H

#include "core/features.h"
#include "core/ids.h"

#include <stdbool.h>
#include <stdint.h>

#define METADATA_MAX 16384 /* bytes of a metadata object as JSON, the same for all apps */

struct tenant;

const struct app_id *tenant_app(const struct tenant *t);
int64_t tenant_version(const struct tenant *t); /* of its row: grows with every change */
bool tenant_active(const struct tenant *t);     /* neither suspended nor deleted */
bool tenant_has(const struct tenant *t, enum feature f);
const uint8_t *tenant_id_key(const struct tenant *t); /* 32 bytes; keys msg_ and dir_ ids; never rotates */

/* The app's limits, defaults where it has none of its own. Table: name in `limits` of PATCH /v1/apps, default, unit and meaning. An app may have up to 100 times
 * the default of an L; a D is the deployment's: the setting of the same name is its default and the most that an app can have. */
/* clang-format off */
#define TENANT_LIMITS(L, D) \
    L(group_members,        10000, "members of a group") \
    L(message_chars,        20000, "characters of a message's text") \
    L(sends_per_user,       10,    "messages per second of one user; burst is three times that") \
    L(sends_per_conversation, 100, "messages per second into one conversation") \
    L(sends_per_app,        5000,  "messages per second of the app on one gateway") \
    L(events_per_user,      500,   "events per second of one user on one gateway, messages apart; burst is four times that") \
    L(events_per_app,       20000, "events per second of the app on one gateway, messages apart; burst is twice that") \
    L(connections_per_user, 20,    "live connections of one user on one gateway and in one namespace; the oldest is replaced") \
    D(connections_per_app,  200000, "live connections of the app on one gateway") \
    D(max_payload,          1000000, "bytes of one packet from a client") \
    D(attachments,          10,    "binary attachments of one packet") \
    D(attachment_bytes,     4000000, "bytes of all attachments of one packet") \
    D(events_per_second,    50,    "events per second of one connection, messages apart") \
    D(events_burst,         200,   "the burst to that") \
    D(events_in_flight,     256,   "events of one connection that wait for their answer")
/* clang-format on */

struct tenant_limits {
#define L(name, otherwise, doc) uint32_t name;
    TENANT_LIMITS(L, L)
#undef L
};
/* What an app has without limits of its own, and what it may have at most. Set once at the start, before there are tenants. */
extern struct tenant_limits tenant_limits_default, tenant_limits_most;
struct config;
void tenant_limits_start(const struct config *c);

const struct tenant_limits *tenant_limits(const struct tenant *t);

uint32_t tenant_token_ttl_seconds(const struct tenant *t);              /* default life of minted tokens */
int64_t tenant_tokens_valid_after_ms(const struct tenant *t);           /* tokens issued before are revoked; 0 = none */
bool tenant_origin_allowed(const struct tenant *t, const char *origin); /* true when the app has no list, or for NULL */

struct tenant *tenant_ref(const struct tenant *t);
void tenant_unref(void *t); /* void * so that arena_defer() takes it */

#endif
