/* apikeys.h: API keys: `ply_<live|test|adm>_<id12>_<secret43><crc6>` in base62; the crc is the CRC-32 of everything before it, so that a typo costs no
 * database read. At rest SHA-256 of the whole text and its last four characters. */
#ifndef TENANTS_APIKEYS_H
#define TENANTS_APIKEYS_H

#include "core/arena.h"
#include "core/config.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"

#include <stdbool.h>
#include <stdint.h>

#define APIKEY_TEXT_MAX 80

struct apikey_text {
    char text[APIKEY_TEXT_MAX];
    char public_id[13];
    char last4[5];
    uint8_t sha256[32];
};
/* A new secret; mode is "live", "test" or "adm". */
void apikeys_generate(const char *mode, struct apikey_text *k_r);
/* Form and crc only: 0 and the parts, or -1. */
int apikeys_parse(const char *text, struct apikey_text *k_r) __attribute__((warn_unused_result));

/* Who calls with an API key. */
struct apikey_caller {
    const struct tenant *tenant; /* lives as long as the arena */
    struct key_id key;
    uint64_t scopes;
    bool test;
};
/* Verifies a presented key (cached 5 s; dropped at once by apikeys_invalidate). ip: textual address of the peer, for the CIDR list. -1: INVALID_API_KEY,
 * EXPIRED_API_KEY, IP_NOT_ALLOWED, APP_SUSPENDED, STORAGE_UNAVAILABLE. Unknown ids take the time of wrong secrets. */
int apikeys_verify(struct arena *a, const char *text, const char *ip, struct apikey_caller *caller_r, struct err *e)
    __attribute__((warn_unused_result));
void apikeys_invalidate(const struct app_id *app);

/* The platform-admin key, by constant-time comparison of hashes. */
int apikeys_admin_start(const struct config *c, struct err *e) __attribute__((warn_unused_result));
bool apikeys_is_admin(const char *text);

/* 0 when every cidr of the array is one ("10.0.0.0/8", "2001:db8::/32", or a lone address); else its 1-based index. */
int apikeys_bad_cidr(const json_t *cidrs);

#endif
