/* schema_lint.c: schema_lint(): what is checked once, at start. */
#include "core/schema.h"

#include <assert.h>
#include <regex.h>
#include <stdbool.h>

/* What stands behind a keyword. */
enum form { ANYTHING, TYPE, LIST, STRINGS, COUNT, NUMBER, BOOLEAN, PATTERN, FORMAT, REFERENCE, SCHEMA, SCHEMAS, SCHEMA_MAP, ANNOTATION };

static const struct {
    const char *keyword;
    enum form form;
} keywords[] = {
    {"type", TYPE},
    {"enum", LIST},
    {"const", ANYTHING},
    {"required", STRINGS},
    {"minProperties", COUNT},
    {"maxProperties", COUNT},
    {"minItems", COUNT},
    {"maxItems", COUNT},
    {"uniqueItems", BOOLEAN},
    {"minLength", COUNT},
    {"maxLength", COUNT},
    {"pattern", PATTERN},
    {"minimum", NUMBER},
    {"maximum", NUMBER},
    {"format", FORMAT},
    {"$ref", REFERENCE},
    {"properties", SCHEMA_MAP},
    {"additionalProperties", SCHEMA},
    {"items", SCHEMA},
    {"not", SCHEMA},
    {"oneOf", SCHEMAS},
    {"anyOf", SCHEMAS},
    {"allOf", SCHEMAS},
    {"title", ANNOTATION},
    {"description", ANNOTATION},
    {"example", ANNOTATION},
    {"examples", ANNOTATION},
    {"default", ANNOTATION},
    {"deprecated", ANNOTATION},
    {"readOnly", ANNOTATION},
    {"writeOnly", ANNOTATION},
    {"$comment", ANNOTATION},
    {"contentEncoding", ANNOTATION},
    {"contentMediaType", ANNOTATION},
    {"discriminator", ANNOTATION},
};
#define KEYWORDS (sizeof(keywords) / sizeof(keywords[0]))

struct lint {
    const json_t *document;
    json_t *seen; /* references that were followed, as keys: schemas may contain themselves */
    struct err *e;
};

static int lint(struct lint *l, const json_t *schema, const char *where);

static int refuse(const struct lint *l, const char *where, const char *what)
{
    return err_set(l->e, ERR_INTERNAL, "schema \"%.60s\": %.100s", where, what);
}

static bool is_type_name(const json_t *v)
{
    static const char *const names[] = {"object", "array", "string", "integer", "number", "boolean", "null"};
    for (size_t i = 0; json_is_string(v) && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(json_string_value(v), names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_string(const json_t *v)
{
    return json_is_string(v);
}

static bool is_list_of(const json_t *v, bool (*fits)(const json_t *))
{
    size_t i;
    json_t *one;
    json_array_foreach ((json_t *)v, i, one) {
        if (!fits(one)) {
            return false;
        }
    }
    return json_array_size(v) > 0;
}

static bool compiles(const json_t *v)
{
    regex_t r;
    if (!json_is_string(v) || regcomp(&r, json_string_value(v), REG_EXTENDED | REG_NOSUB) != 0) {
        return false;
    }
    regfree(&r);
    return true;
}

static bool well_formed(enum form form, const json_t *v)
{
    switch (form) {
    case TYPE:
        return is_type_name(v) || is_list_of(v, is_type_name);
    case LIST:
    case SCHEMAS:
        return json_array_size(v) > 0;
    case STRINGS:
        return is_list_of(v, is_string);
    case COUNT:
        return json_is_integer(v) && json_integer_value(v) >= 0;
    case NUMBER:
        return json_is_number(v);
    case BOOLEAN:
        return json_is_boolean(v);
    case PATTERN:
        return compiles(v);
    case FORMAT:
        return json_is_string(v) && (strcmp(json_string_value(v), "date-time") == 0 || strcmp(json_string_value(v), "uri") == 0);
    case REFERENCE:
        return json_is_string(v);
    case SCHEMA_MAP:
        return json_is_object(v);
    case SCHEMA:
    case ANYTHING:
    case ANNOTATION:
        break;
    }
    return true;
}

static int lint_reference(struct lint *l, const json_t *schema, const char *where)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    const json_t *target = schema_resolve(l->document, schema);
    if (target == NULL) {
        return refuse(l, where, "a $ref leads nowhere");
    }
    if (json_object_get(l->seen, ref) != NULL) {
        return 0;
    }
    json_object_set_new(l->seen, ref, json_true());
    return lint(l, target, ref);
}

static int lint_below(struct lint *l, enum form form, const json_t *value, const char *keyword)
{
    size_t i;
    const char *key;
    json_t *one;
    if (form == SCHEMA) {
        return lint(l, value, keyword);
    }
    if (form == SCHEMAS) {
        json_array_foreach ((json_t *)value, i, one) {
            if (lint(l, one, keyword) < 0) {
                return -1;
            }
        }
    } else if (form == SCHEMA_MAP) {
        json_object_foreach ((json_t *)value, key, one) {
            if (lint(l, one, key) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

static int lint_keyword(struct lint *l, const char *keyword, const json_t *value, bool beside_reference, const char *where)
{
    char what[100];
    size_t i = 0;
    while (i < KEYWORDS && strcmp(keywords[i].keyword, keyword) != 0) {
        i++;
    }
    if (i == KEYWORDS) {
        snprintf(what, sizeof(what), "keyword %s is not checked", keyword);
        return refuse(l, where, what);
    }
    enum form form = keywords[i].form;
    if (!well_formed(form, value)) {
        snprintf(what, sizeof(what), form == FORMAT ? "the value of %s is not checked" : "%s has a value of the wrong form", keyword);
        return refuse(l, where, what);
    }
    if (beside_reference && form != ANNOTATION && form != REFERENCE) {
        snprintf(what, sizeof(what), "%s beside $ref is not checked: use allOf", keyword);
        return refuse(l, where, what);
    }
    return lint_below(l, form, value, keyword);
}

static int lint(struct lint *l, const json_t *schema, const char *where)
{
    if (json_is_boolean(schema)) {
        return 0;
    }
    if (!json_is_object(schema)) {
        return refuse(l, where, "is no schema");
    }
    bool reference = json_object_get(schema, "$ref") != NULL;
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)schema, key, value) {
        if (lint_keyword(l, key, value, reference, where) < 0) {
            return -1;
        }
    }
    if (json_is_true(json_object_get(schema, "uniqueItems")) && json_object_get(schema, "maxItems") == NULL) {
        return refuse(l, where, "uniqueItems needs maxItems: every entry is compared with every other");
    }
    return reference ? lint_reference(l, schema, where) : 0;
}

int schema_lint(const json_t *document, const json_t *schema, struct err *e)
{
    struct lint l = {.document = document, .seen = json_object(), .e = e};
    assert(l.seen != NULL);
    int result = lint(&l, schema, "");
    json_decref(l.seen);
    return result;
}
