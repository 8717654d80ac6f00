/* target.h: the request target: splitting, percent-decoding and matching of paths. Pure functions. */
#ifndef API_TARGET_H
#define API_TARGET_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"

#include <stdbool.h>

/* Splits "path?query" (query_r NULL when there is no "?"). -1 ERR_BAD_REQUEST: no absolute path, bytes that must be encoded. */
int target_split(struct arena *a, const char *target, const char **path_r, const char **query_r, struct err *e)
    __attribute__((warn_unused_result));

/* Percent-decodes len bytes ("+" is a space in queries only). NULL: a bad escape, NUL, or not UTF-8. */
char *target_decode(struct arena *a, const char *text, size_t len, bool query);

/* Matches a path as sent with a template ("/v1/users/{user_id}"). -1: no match; else the number of parameters, so that the match with the fewest is the most
 * literal one. With params_r non-NULL the decoded parameters are put into it; a segment that cannot be decoded does not match. */
int target_match(struct arena *a, const char *template, const char *path, json_t *params_r);

/* The query as an object of strings: {"limit": "25"}. A name without "=" has the value "". -1 ERR_BAD_REQUEST: bad escapes, a name twice. */
int target_query(struct arena *a, const char *query, json_t **values_r, struct err *e) __attribute__((warn_unused_result));

#endif
