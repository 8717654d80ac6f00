#include "api/spec.h"

#include "api/routes.h"
#include "core/embed.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>

#define OPERATIONS_MAX 256

static struct {
    struct arena *arena;
    json_t *document;
    const json_t *schemas, *writable;
    struct operation operations[OPERATIONS_MAX];
    int count;
    const char *text;
    size_t len;
} spec;

/* ---- loading ---- */

static const json_t *follow(const json_t *object, const char *key)
{
    return schema_resolve(spec.document, json_object_get(object, key));
}

/* Parameters of one place as an object schema. */
static json_t *parameters_schema(const json_t *path_item, const json_t *operation, const char *in)
{
    json_t *properties = json_object(), *required = json_array();
    const json_t *lists[] = {json_object_get(path_item, "parameters"), json_object_get(operation, "parameters")};
    for (size_t k = 0; k < 2; k++) {
        size_t i;
        json_t *one;
        json_array_foreach ((json_t *)lists[k], i, one) {
            const json_t *p = schema_resolve(spec.document, one);
            if (strcmp(json_str(p, "in", ""), in) != 0) {
                continue;
            }
            json_object_set(properties, json_str(p, "name", ""), json_object_get(p, "schema"));
            if (json_bool(p, "required", false)) {
                json_array_append_new(required, json_string(json_str(p, "name", "")));
            }
        }
    }
    json_t *schema =
        json_own(spec.arena, json_pack("{s:s, s:o, s:b}", "type", "object", "properties", properties, "additionalProperties", 0));
    if (json_array_size(required) > 0) {
        json_object_set(schema, "required", required);
    }
    json_decref(required);
    return schema;
}

static int load_operation(const json_t *path_item, const json_t *operation, struct err *e)
{
    const char *id = json_str(operation, "operationId", NULL);
    if (id == NULL || spec.count == OPERATIONS_MAX) {
        return err_set(e, ERR_INTERNAL, "an operation has no operationId, or there are more than %d", OPERATIONS_MAX);
    }
    struct operation *op = &spec.operations[spec.count++];
    const json_t *body = follow(operation, "requestBody"), *content = json_object_get(body, "content");
    const json_t *json = json_object_get(content, "application/json");
    *op = (struct operation){.id = id, .responses = json_object_get(operation, "responses")};
    op->params = parameters_schema(path_item, operation, "path");
    op->query = parameters_schema(path_item, operation, "query");
    op->body = json_object_get(json, "schema");
    op->body_required = json_bool(body, "required", false);
    op->merge_patch = json_object_get(content, "application/merge-patch+json") != NULL;
    if (schema_lint(spec.document, op->params, e) < 0 || schema_lint(spec.document, op->query, e) < 0) {
        return -1;
    }
    return op->body != NULL ? schema_lint(spec.document, op->body, e) : 0;
}

static int lint_responses(const struct operation *op, struct err *e)
{
    const char *status, *type;
    json_t *one, *media;
    json_object_foreach ((json_t *)op->responses, status, one) {
        const json_t *response = schema_resolve(spec.document, one);
        if (response == NULL) {
            return err_set(e, ERR_INTERNAL, "operation %s: the response %s leads nowhere", op->id, status);
        }
        json_object_foreach (json_object_get(response, "content"), type, media) {
            const json_t *schema = json_object_get(media, "schema");
            if (schema != NULL && schema_lint(spec.document, schema, e) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

static const struct route *route_of(const char *operation)
{
    const struct route *r = routes;
    while (r->operation != NULL && strcmp(r->operation, operation) != 0) {
        r++;
    }
    return r->operation != NULL ? r : NULL;
}

static bool has_method(const char *method, const char *name)
{
    return strcasecmp(method, name) == 0 && (islower((unsigned char)name[0]));
}

static int load_path(const char *path, const json_t *path_item, struct err *e)
{
    const char *method;
    json_t *operation;
    json_object_foreach ((json_t *)path_item, method, operation) {
        if (!json_is_object(operation)) {
            continue; /* parameters, summary … of the path */
        }
        if (load_operation(path_item, operation, e) < 0) {
            return -1;
        }
        const struct operation *op = &spec.operations[spec.count - 1];
        const struct route *r = route_of(op->id);
        if (r == NULL || strcmp(r->path, path) != 0 || !has_method(r->method, method)) {
            return err_set(e, ERR_INTERNAL, "operation %s (%s %s) has no such row in api/routes.h", op->id, method, path);
        }
        const char *scope = json_str(operation, "x-scope", NULL),
                   *needed = r->scope != SCOPE_NONE ? scope_name((enum scope)r->scope) : NULL;
        if ((scope == NULL) != (needed == NULL) || (scope != NULL && strcmp(scope, needed) != 0)) {
            return err_set(e, ERR_INTERNAL, "operation %s: x-scope differs from the row in api/routes.h", op->id);
        }
        if (lint_responses(op, e) < 0) {
            return -1;
        }
    }
    return 0;
}

static int lint_all(const json_t *schemas, struct err *e)
{
    const char *name;
    json_t *one;
    json_object_foreach ((json_t *)schemas, name, one) {
        if (schema_lint(spec.document, one, e) < 0) {
            return -1;
        }
    }
    return 0;
}

static int load_paths(struct err *e)
{
    const char *name;
    json_t *one;
    if (lint_all(spec.schemas, e) < 0 || lint_all(spec.writable, e) < 0) {
        return -1;
    }
    json_object_foreach (json_object_get(spec.document, "paths"), name, one) {
        if (load_path(name, one, e) < 0) {
            return -1;
        }
    }
    for (const struct route *r = routes; r->operation != NULL; r++) {
        int i = 0;
        while (i < spec.count && strcmp(spec.operations[i].id, r->operation) != 0) {
            i++;
        }
        if (i == spec.count) {
            return err_set(e, ERR_INTERNAL, "route %s is not an operation of openapi/rest.yaml", r->operation);
        }
    }
    return 0;
}

int spec_load(struct err *e)
{
    const struct embed *file = embed_find("openapi/rest.yaml");
    if (file == NULL) {
        return err_set(e, ERR_INTERNAL, "openapi/rest.yaml is not part of this program");
    }
    spec.arena = arena_new("specification");
    spec.document = json_read_yaml(spec.arena, file->data, file->len, e);
    if (spec.document == NULL) {
        return -1;
    }
    spec.schemas = json_object_get(json_object_get(spec.document, "components"), "schemas");
    spec.writable = json_object_get(spec.document, "x-writable");
    spec.text = json_write(spec.arena, spec.document, &spec.len);
    return load_paths(e);
}

const struct operation *spec_operation(const char *id)
{
    for (int i = 0; i < spec.count; i++) {
        if (strcmp(spec.operations[i].id, id) == 0) {
            return &spec.operations[i];
        }
    }
    assert(!"the operation of a route");
    return NULL;
}

/* ---- requests ---- */

static json_t *list_of(const char *text)
{
    json_t *list = json_array();
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        json_array_append_new(list, json_stringn(text, len));
        text += len + (text[len] == ',');
    }
    return list;
}

static json_t *typed(const json_t *schema, const char *text)
{
    const char *type = json_str(schema, "type", "string");
    if (strcmp(type, "integer") == 0) {
        char *end;
        errno = 0;
        long long n = strtoll(text, &end, 10);
        bool digits = text[text[0] == '-'] >= '0' && text[text[0] == '-'] <= '9';
        return digits && *end == '\0' && errno == 0 ? json_integer(n) : NULL;
    }
    if (strcmp(type, "boolean") == 0) {
        bool yes = text[0] == '\0' || strcmp(text, "true") == 0;
        return yes || strcmp(text, "false") == 0 ? json_boolean(yes) : NULL;
    }
    return strcmp(type, "array") == 0 ? list_of(text) : NULL;
}

void spec_type_query(const struct operation *op, json_t *values)
{
    const json_t *properties = json_object_get(op->query, "properties");
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(values, next, name, value)
    {
        const json_t *schema = schema_resolve(spec.document, json_object_get(properties, name));
        json_t *better = schema != NULL ? typed(schema, json_string_value(value)) : NULL;
        if (better != NULL) {
            json_object_set_new(values, name, better);
        }
    }
}

int spec_check(const json_t *schema, const json_t *value, struct schema_report *report_r)
{
    return schema_check(spec.document, schema, value, report_r);
}

int spec_check_writable(const char *name, const json_t *value, struct schema_report *report_r)
{
    const json_t *schema = json_object_get(spec.writable, name);
    assert(schema != NULL);
    return schema_check(spec.document, schema, value, report_r);
}

/* ---- replies ---- */

static int check_body(const json_t *schema, const char *body, size_t len, struct err *e)
{
    struct arena *a = arena_new("reply check");
    struct schema_report report;
    json_t *value = json_read(a, body, len, e);
    int result = value == NULL ? -1 : schema_check(spec.document, schema, value, &report);
    if (value != NULL && result < 0) {
        err_set(e, ERR_INTERNAL, "%s %s", report.problems[0].pointer, report.problems[0].detail);
    }
    arena_free(&a);
    return result;
}

int spec_check_reply(const struct operation *op, int status, const char *type, const char *body, size_t len, struct err *e)
{
    char key[8];
    snprintf(key, sizeof(key), "%d", status);
    const json_t *response = schema_resolve(spec.document, json_object_get(op->responses, key));
    if (response == NULL) {
        return err_set(e, ERR_INTERNAL, "%s: status %d is not documented", op->id, status);
    }
    const json_t *content = json_object_get(response, "content");
    if (content == NULL || type == NULL) {
        return content == NULL && len == 0
                   ? 0
                   : err_set(e, ERR_INTERNAL, "%s: status %d has %s body", op->id, status, len == 0 ? "no" : "an undocumented");
    }
    char plain[64];
    snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(type, ";"), type);
    const json_t *media = json_object_get(content, plain);
    if (media == NULL) {
        return err_set(e, ERR_INTERNAL, "%s: status %d with %s is not documented", op->id, status, plain);
    }
    const json_t *schema = json_object_get(media, "schema");
    return strstr(plain, "json") != NULL && schema != NULL ? check_body(schema, body, len, e) : 0;
}

const char *spec_text(size_t *len_r)
{
    *len_r = spec.len;
    return spec.text;
}
