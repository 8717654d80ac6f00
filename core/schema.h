/* schema.h: the subset of JSON Schema 2020-12 that openapi/rest.yaml and openapi/realtime.yaml use; Debian has no C library for it.
 *
 * Keywords: type (also a list), enum, const, properties, required, additionalProperties (boolean or schema), minProperties, maxProperties,
 * items, minItems, maxItems, uniqueItems, minLength, maxLength (in code points), pattern (POSIX extended; \d and \w are not used), minimum,
 * maximum, format (date-time, uri), $ref (within the document), oneOf, anyOf, allOf, not. Annotations are ignored. Anything else is refused by
 * schema_lint(), so that no keyword is believed to be checked when it is not. */
#ifndef CORE_SCHEMA_H
#define CORE_SCHEMA_H

#include "core/arena.h"
#include "core/err.h"

#include <jansson.h>

#define SCHEMA_PROBLEMS_MAX 16

struct schema_problem {
    char pointer[96]; /* RFC 6901, of the value at fault */
    /* "required", "unknown_field", "wrong_type", "too_long", "too_short", "not_allowed", "pattern", "out_of_range", "duplicate", "format" */
    char code[24];
    char detail[160]; /* what to do about it */
};

struct schema_report {
    struct schema_problem problems[SCHEMA_PROBLEMS_MAX];
    int count; /* problems found; at most SCHEMA_PROBLEMS_MAX are kept */
};

/* Checks value against schema; `document` is the root that "$ref": "#/…" points into. 0 when it is valid, else -1 and the report is filled. */
int schema_check(const json_t *document, const json_t *schema, const json_t *value, struct schema_report *report_r)
    __attribute__((warn_unused_result));

/* Refuses keywords outside the subset or with values of the wrong form, constraints beside "$ref" (they would not be checked), uniqueItems
 * without maxItems, and unresolvable references, anywhere below `schema` and in what it refers to. 0, or -1 and *e names the place. */
int schema_lint(const json_t *document, const json_t *schema, struct err *e) __attribute__((warn_unused_result));

/* Follows "$ref" (any number of times) within the document. Returns schema itself when it is no reference, NULL when it leads nowhere. */
const json_t *schema_resolve(const json_t *document, const json_t *schema);

#endif
