/* err.h: the one catalogue of errors. REST bodies, socket acks, CONNECT_ERROR, command-line tools and the documentation all use
 * these codes (RFC 9457 problem details over HTTP). To add one: a row here. */
#ifndef CORE_ERR_H
#define CORE_ERR_H

#include <stdbool.h>

/* clang-format off */
/*    enum                     HTTP  wire name                 retryable title (the same for every occurrence) */
#define ERRORS(E) \
    E(OK,                      200, "ok",                      false, "OK") \
    E(MALFORMED_JSON,          400, "malformed_json",          false, "The body is not valid JSON") \
    E(BAD_REQUEST,             400, "bad_request",             false, "The request is malformed") \
    E(UNKNOWN_PARAMETER,       400, "unknown_parameter",       false, "Unknown query parameter") \
    E(INVALID_CURSOR,          400, "invalid_cursor",          false, "The cursor is not valid") \
    E(CURSOR_MISMATCH,         400, "cursor_mismatch",         false, "The cursor belongs to another query") \
    E(UNKNOWN_EVENT,           400, "unknown_event",           false, "Unknown event") \
    E(MISSING_CREDENTIALS,     401, "missing_credentials",     false, "Credentials are missing") \
    E(INVALID_API_KEY,         401, "invalid_api_key",         false, "The API key is not valid") \
    E(EXPIRED_API_KEY,         401, "expired_api_key",         false, "The API key has expired") \
    E(INVALID_TOKEN,           401, "invalid_token",           false, "The token is not valid") \
    E(TOKEN_EXPIRED,           401, "token_expired",           false, "The token has expired") \
    E(TOKEN_REVOKED,           401, "token_revoked",           false, "The token has been revoked") \
    E(UNKNOWN_KID,             401, "unknown_kid",             false, "The token names an unknown signing key") \
    E(INSUFFICIENT_SCOPE,      403, "insufficient_scope",      false, "The credential lacks the scope") \
    E(FEATURE_DISABLED,        403, "feature_disabled",        false, "The feature is switched off for this app") \
    E(NOT_A_MEMBER,            403, "not_a_member",            false, "The user is not a member of the conversation") \
    E(ROLE_REQUIRED,           403, "role_required",           false, "The member's role does not permit this") \
    E(USER_BANNED,             403, "user_banned",             false, "The user is banned or deactivated") \
    E(USER_MUTED,              403, "user_muted",              false, "The user is muted in this conversation") \
    E(IP_NOT_ALLOWED,          403, "ip_not_allowed",          false, "The key may not be used from this address") \
    E(SECRET_KEY_IN_BROWSER,   403, "secret_key_in_browser",   false, "Secret keys must not be used in a browser") \
    E(APP_SUSPENDED,           403, "app_suspended",           false, "The app is suspended or deleted") \
    E(NOT_FOUND,               404, "not_found",               false, "There is no such resource") \
    E(METHOD_NOT_ALLOWED,      405, "method_not_allowed",      false, "The resource does not support this method") \
    E(ALREADY_EXISTS,          409, "already_exists",          false, "The resource exists already") \
    E(CONVERSATION_FROZEN,     409, "conversation_frozen",     false, "The conversation is frozen") \
    E(LAST_OWNER,              409, "last_owner",              false, "A group must keep an owner") \
    E(LAST_SIGNING_KEY,        409, "last_active_key",         false, "The last active signing key cannot be removed") \
    E(LENGTH_REQUIRED,         411, "length_required",         false, "Content-Length is required") \
    E(VERSION_MISMATCH,        412, "version_mismatch",        false, "The resource has changed") \
    E(PAYLOAD_TOO_LARGE,       413, "payload_too_large",       false, "The payload is too large") \
    E(URI_TOO_LONG,            414, "uri_too_long",            false, "The URI is too long") \
    E(UNSUPPORTED_MEDIA_TYPE,  415, "unsupported_media_type",  false, "The content type is not supported") \
    E(VALIDATION_FAILED,       422, "validation_failed",       false, "Request validation failed") \
    E(MEMBER_LIMIT,            422, "member_limit",            false, "The group has reached its member limit") \
    E(RATE_LIMITED,            429, "rate_limited",            true,  "Too many requests") \
    E(HEADERS_TOO_LARGE,       431, "headers_too_large",       false, "The headers are too large") \
    E(INTERNAL,                500, "internal",                true,  "Internal error") \
    E(BUSY,                    503, "busy",                    true,  "The service is busy") \
    E(DRAINING,                503, "draining",                true,  "The service is shutting down") \
    E(STORAGE_UNAVAILABLE,     503, "storage_unavailable",     true,  "Storage is unavailable") \
    E(UNCERTAIN,               503, "storage_unavailable",     true,  "The outcome of a write is unknown") \
    E(UPSTREAM_TIMEOUT,        504, "upstream_timeout",        true,  "Storage did not answer in time")
/* clang-format on */

enum err_code {
#define E(name, http, wire, retryable, title) ERR_##name,
    ERRORS(E)
#undef E
        ERR_COUNT
};

/* What went wrong. A zeroed struct means success. Functions that can fail return 0 or -1 (look-ups: 1 found, 0 not, -1 error) and fill
 * it only on -1. `pointer` is the RFC 6901 JSON Pointer of the offending input value, or "". */
struct err {
    enum err_code code;
    char msg[192];
    char pointer[96];
};

/* Fills *e and returns -1, so that a function can end with `return err_set(e, ERR_…, "…")`. The text tells the user what to do next;
 * it never holds SQL, paths or another tenant's data. It is valid UTF-8 whatever the arguments hold. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same with the JSON Pointer of the value at fault. */
int err_at(struct err *e, enum err_code code, const char *pointer, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

int err_http_status(enum err_code code);
const char *err_name(enum err_code code); /* the wire name, e.g. "not_found" */
const char *err_title(enum err_code code);
bool err_retryable(enum err_code code);

#endif
