/* req.h: one REST request as the router and the handlers see it: who asks, what came, what goes back. No HTTP library in here.
 *
 * A handler runs after everything that can be checked without knowing the subject has been checked: it never sees an invalid body, a foreign
 * tenant or a disabled feature. It returns 0 after one of the reply_ functions, or -1 with *e, which becomes a problem body. */
#ifndef API_REQ_H
#define API_REQ_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/json.h"
#include "core/schema.h"
#include "core/tenant.h"
#include "storage/users.h"
#include "tenants/apikeys.h"
#include "tenants/tokens.h"

#include <stdbool.h>
#include <stdint.h>

#define REQUEST_ID_MAX 64
#define BODY_MAX 1048576
#define TARGET_MAX 8192

/* The request headers that anything here looks at. */
#define REQ_HEADERS(H) \
    H(authorization, "Authorization") \
    H(content_type, "Content-Type") \
    H(content_encoding, "Content-Encoding") \
    H(if_match, "If-Match") \
    H(if_none_match, "If-None-Match") \
    H(origin, "Origin") \
    H(parley_app, "Parley-App") \
    H(request_id, "X-Request-Id") \
    H(cors_method, "Access-Control-Request-Method")

struct req_headers {
#define H(field, name) const char *field;
    REQ_HEADERS(H)
#undef H
};

enum caller { CALLER_NONE, CALLER_PLATFORM, CALLER_KEY, CALLER_USER };

struct reply_header {
    const char *name, *value;
};
#define REPLY_HEADERS_MAX 20

struct reply {
    int status;       /* 0 = none yet */
    const char *type; /* media type of the body */
    const char *body; /* in the arena */
    size_t len;
    struct reply_header headers[REPLY_HEADERS_MAX];
    int header_count;
    const char *cache_control; /* NULL: no-store */
    bool close;                /* the connection ends with this reply */
};

struct route;
struct operation;

#define BATCH_MAX 100 /* items of a batch */

struct req {
    struct arena *arena;
    /* From the listener. */
    bool admin; /* came over the operator's listener */
    const char *method;
    const char *target; /* as sent: path, "?", query */
    char ip[48];
    struct req_headers headers;
    bool has_body; /* a body is announced and not known to be empty */
    /* From the router. */
    char request_id[REQUEST_ID_MAX + 1];
    const char *path;          /* as sent, without the query */
    const struct route *route; /* NULL: none matched */
    const struct operation *operation;
    json_t *params; /* {"user_id": "alice"}: of the path, decoded */
    json_t *query;  /* {"limit": 25}: typed, checked, without defaults */
    json_t *body;   /* checked; NULL when there is none */
    /* Who asks. */
    enum caller caller;
    const struct tenant *tenant; /* NULL on routes that belong to no app */
    uint64_t scopes;
    struct key_id key;  /* CALLER_KEY */
    struct token token; /* CALLER_USER */
    struct user user;   /* CALLER_USER: the row behind the token */
    /* What goes back. */
    struct reply reply;
    struct schema_report *report;         /* becomes errors[] of the problem body */
    const char *extra_name, *extra_value; /* one more member of the problem body, e.g. required_scope */
    const char *violated[2];              /* policies behind a 429 */
    int64_t retry_after_ms;
    int64_t busy_us;
};

typedef int api_handler(struct req *r, struct err *e);

/* Parameters. req_param() is the text of a path parameter; the typed ones fail with ERR_NOT_FOUND. */
const char *req_param(const struct req *r, const char *name);
int req_param_conv(const struct req *r, const char *name, struct conv_id *id_r, struct err *e) __attribute__((warn_unused_result));
int req_param_user(const struct req *r, const char *name, struct user_id *id_r, struct err *e) __attribute__((warn_unused_result));
/* A date-time of the query or body (checked by the schema) in wall ms; 0 when absent. */
int64_t req_time(const json_t *object, const char *name);
/* The version named by If-Match ("17", or "17.4" where the tag says more): 0 when there is none or it is "*". -1 ERR_VERSION_MISMATCH when it can match nothing. */
int req_if_match(const struct req *r, int64_t *version_r, struct err *e) __attribute__((warn_unused_result));
/* 0 when If-Match allows a change of the resource at `version`, else -1 ERR_VERSION_MISMATCH. */
int req_check_version(const struct req *r, int64_t version, struct err *e) __attribute__((warn_unused_result));
/* After a change failed with *e: true when somebody overtook it and it is to be made again on the newer state. False: *e is the answer (ERR_BUSY after many
 * attempts: without If-Match the caller cannot be at fault). */
bool req_overtaken(const struct req *r, int attempt, struct err *e);
bool req_is_user(const struct req *r);

/* Checks what a merge patch has left against x-writable of the specification ("UserFields"); -1 ERR_VALIDATION_FAILED with the report attached. */
int req_check(struct req *r, const char *writable, const json_t *value, struct err *e) __attribute__((warn_unused_result));
/* -1 ERR_VALIDATION_FAILED at `pointer` when the compact text of value is longer than max bytes. NULL passes. */
int req_check_size(struct req *r, const json_t *value, size_t max, const char *pointer, struct err *e) __attribute__((warn_unused_result));

/* Replies; all return 0. Bodies belong to the arena. */
int reply_json(struct req *r, int status, const json_t *body);
int reply_bytes(struct req *r, int status, const char *type, const char *text, size_t len);
int reply_empty(struct req *r, int status);
/* A single resource with its strong ETag; GET and a fitting If-None-Match make it a 304. */
int reply_resource(struct req *r, int status, const json_t *body, int64_t version);
int reply_tagged(struct req *r, int status, const json_t *body, const char *tag); /* the same with a tag that says more than the version */
void reply_header(struct req *r, const char *name, const char *value);            /* value must live in the arena or be static */
void reply_location(struct req *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
