/* schema_lint.c: schema_lint(): what is checked once, at start. */
#include "core/schema.h"

#include <regex.h>
#include <stdbool.h>

enum below { NOTHING, ONE_SCHEMA, LIST_OF_SCHEMAS, MAP_OF_SCHEMAS };

static const struct {
    const char *keyword;
    enum below below;
} keywords[] = {
    {"type", NOTHING},
    {"enum", NOTHING},
    {"const", NOTHING},
    {"required", NOTHING},
    {"minProperties", NOTHING},
    {"maxProperties", NOTHING},
    {"minItems", NOTHING},
    {"maxItems", NOTHING},
    {"uniqueItems", NOTHING},
    {"minLength", NOTHING},
    {"maxLength", NOTHING},
    {"pattern", NOTHING},
    {"minimum", NOTHING},
    {"maximum", NOTHING},
    {"format", NOTHING},
    {"$ref", NOTHING},
    {"title", NOTHING},
    {"description", NOTHING},
    {"example", NOTHING},
    {"examples", NOTHING},
    {"default", NOTHING},
    {"deprecated", NOTHING},
    {"readOnly", NOTHING},
    {"writeOnly", NOTHING},
    {"$comment", NOTHING},
    {"contentEncoding", NOTHING},
    {"contentMediaType", NOTHING},
    {"properties", MAP_OF_SCHEMAS},
    {"additionalProperties", ONE_SCHEMA},
    {"items", ONE_SCHEMA},
    {"not", ONE_SCHEMA},
    {"oneOf", LIST_OF_SCHEMAS},
    {"anyOf", LIST_OF_SCHEMAS},
    {"allOf", LIST_OF_SCHEMAS},
};

static int lint(const json_t *document, const json_t *schema, const char *where, struct err *e);

static int lint_below(const json_t *document, enum below below, const json_t *value, const char *keyword, struct err *e)
{
    if (below == ONE_SCHEMA) {
        return lint(document, value, keyword, e);
    }
    size_t i;
    const char *key;
    json_t *one;
    if (below == LIST_OF_SCHEMAS) {
        json_array_foreach ((json_t *)value, i, one) {
            if (lint(document, one, keyword, e) < 0) {
                return -1;
            }
        }
    } else if (below == MAP_OF_SCHEMAS) {
        json_object_foreach ((json_t *)value, key, one) {
            if (lint(document, one, key, e) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

static int lint_value(const char *keyword, const json_t *value, const char *where, struct err *e)
{
    const char *text = json_string_value(value);
    if (strcmp(keyword, "pattern") == 0) {
        regex_t r;
        if (text == NULL || regcomp(&r, text, REG_EXTENDED | REG_NOSUB) != 0) {
            return err_set(e, ERR_INTERNAL, "schema \"%s\": the pattern does not compile", where);
        }
        regfree(&r);
    }
    if (strcmp(keyword, "format") == 0 && (text == NULL || (strcmp(text, "date-time") != 0 && strcmp(text, "uri") != 0))) {
        return err_set(e, ERR_INTERNAL, "schema \"%s\": format %s is not checked", where, text != NULL ? text : "?");
    }
    return 0;
}

static int lint(const json_t *document, const json_t *schema, const char *where, struct err *e)
{
    if (json_is_boolean(schema)) {
        return 0;
    }
    if (schema_resolve(document, schema) == NULL) {
        return err_set(e, ERR_INTERNAL, "schema \"%s\": a $ref leads nowhere", where);
    }
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)schema, key, value) {
        size_t i = 0, n = sizeof(keywords) / sizeof(keywords[0]);
        while (i < n && strcmp(keywords[i].keyword, key) != 0) {
            i++;
        }
        if (i == n) {
            return err_set(e, ERR_INTERNAL, "schema \"%s\": keyword %s is not checked", where, key);
        }
        if (lint_value(key, value, where, e) < 0 || lint_below(document, keywords[i].below, value, key, e) < 0) {
            return -1;
        }
    }
    return 0;
}

int schema_lint(const json_t *document, const json_t *schema, struct err *e)
{
    return lint(document, schema, "", e);
}
