/* json.h: jansson values owned by an arena, read strictly.
 *
 * Every boundary uses json_read(): RFC 8259 text only, duplicate keys, NUL, invalid UTF-8, trailing text and nesting beyond JSON_DEPTH_MAX
 * are refused. */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include "core/arena.h"
#include "core/err.h"

#include <jansson.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 32

/* Parses `len` bytes. The value belongs to the arena. NULL and ERR_MALFORMED_JSON with the line and column when it cannot be read. Any JSON
 * value may stand at the top. */
json_t *json_read(struct arena *a, const char *text, size_t len, struct err *e) __attribute__((warn_unused_result));

/* The same for who looks at parts of a text and passes the text itself on: any RFC 8259 text of at most that depth is read. In the value, of a
 * repeated key the last counts, a number that no C type holds is 0.0, and an escaped NUL or surrogate is U+FFFD. */
json_t *json_read_loosely(struct arena *a, const char *text, size_t len, struct err *e) __attribute__((warn_unused_result));

/* Ties a new reference to the arena and returns it, so that values built with json_pack() need no json_decref(). v must not be NULL. */
json_t *json_own(struct arena *a, json_t *v);

/* Compact text, UTF-8 unescaped, keys in insertion order. The text belongs to the arena; *len_r (may be NULL) is its length. */
char *json_write(struct arena *a, const json_t *v, size_t *len_r);

/* Members of an object, with a default when absent or of another type. The string stays owned by the object. */
const char *json_str(const json_t *object, const char *key, const char *otherwise);
int64_t json_int(const json_t *object, const char *key, int64_t otherwise);
bool json_bool(const json_t *object, const char *key, bool otherwise);

/* RFC 7396 merge patch: changes *target (an object owned by the caller) by patch. */
void json_merge_patch(json_t *target, const json_t *patch);

/* Reads YAML (the subset that maps to JSON: no anchors across documents, no tags) into a JSON value owned by the arena. Plain scalars follow
 * the YAML 1.2 core schema. NULL and *e when it cannot be read. */
json_t *json_read_yaml(struct arena *a, const char *text, size_t len, struct err *e) __attribute__((warn_unused_result));

#endif
