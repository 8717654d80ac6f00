/* spec.h: openapi/rest.yaml as the validator of requests and, in tests, of replies. Loaded once, then read by all threads. */
#ifndef API_SPEC_H
#define API_SPEC_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"
#include "core/schema.h"

#include <stdbool.h>

struct operation {
    const char *id;
    const json_t *params; /* object schema of the path parameters */
    const json_t *query;  /* object schema of the query parameters */
    const json_t *body;   /* schema of the JSON body; NULL: takes none */
    bool body_required, merge_patch;
    const json_t *responses;
};

/* Reads the embedded specification, lints its schemas and compares its operations with routes[], both ways. -1 and *e says what differs. */
int spec_load(struct err *e) __attribute__((warn_unused_result));

/* The operation of a route; never NULL once loaded. */
const struct operation *spec_operation(const char *id);

/* Turns the texts of a query into the types that the specification names: integers, booleans ("" and "true", "false"), comma-separated lists. What does not
 * fit stays text, for the schema to refuse. */
void spec_type_query(const struct operation *op, json_t *values);

int spec_check(const json_t *schema, const json_t *value, struct schema_report *report_r) __attribute__((warn_unused_result));
/* Against x-writable[name]: what a merge patch must leave. */
int spec_check_writable(const char *name, const json_t *value, struct schema_report *report_r) __attribute__((warn_unused_result));

/* Does a reply conform? -1 and *e says how not: the status or media type is not documented, or the body does not fit. */
int spec_check_reply(const struct operation *op, int status, const char *type, const char *body, size_t len, struct err *e)
    __attribute__((warn_unused_result));

/* The specification as JSON text. */
const char *spec_text(size_t *len_r);

#endif
