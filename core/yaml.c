/* yaml.c: json_read_yaml(): the specifications are kept in YAML and read once, at start. */
#include "core/json.h"

#include <errno.h>
#include <stdbool.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    struct err *e;
    int depth;
};

#define YAML_DEPTH_MAX 64

static json_t *fail(struct reader *r, const char *why)
{
    err_set(r->e, ERR_MALFORMED_JSON, "YAML line %zu: %s", r->parser.mark.line + 1, why);
    return NULL;
}

/* Numbers of the core schema; NULL: it is none, or too large for its type. */
static json_t *plain_number(const char *s, size_t len)
{
    char *end;
    errno = 0;
    if (strncmp(s, "0x", 2) == 0 || strncmp(s, "0o", 2) == 0) {
        int base = s[1] == 'x' ? 16 : 8;
        long long n = strtoll(s + 2, &end, base);
        bool digits = s[2] != '\0' && strspn(s + 2, base == 16 ? "0123456789abcdefABCDEF" : "01234567") == len - 2;
        return digits && *end == '\0' && errno == 0 ? json_integer(n) : NULL;
    }
    if (strspn(s, "0123456789+-.eE") != len || strpbrk(s, "0123456789") == NULL) {
        return NULL;
    }
    long long n = strtoll(s, &end, 10);
    if (*end == '\0' && errno == 0) {
        return json_integer(n);
    }
    errno = 0;
    double d = strtod(s, &end);
    return *end == '\0' && errno == 0 ? json_real(d) : NULL;
}

/* The YAML 1.2 core schema: what is not null, a boolean or a number is a string. NULL: JSON has no such value. */
static json_t *plain_scalar(const char *s, size_t len)
{
    static const struct {
        const char *word;
        json_type type;
    } words[] = {
        {"", JSON_NULL},     {"~", JSON_NULL},    {"null", JSON_NULL},   {"Null", JSON_NULL},   {"NULL", JSON_NULL},   {"true", JSON_TRUE},
        {"True", JSON_TRUE}, {"TRUE", JSON_TRUE}, {"false", JSON_FALSE}, {"False", JSON_FALSE}, {"FALSE", JSON_FALSE},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(s, words[i].word) == 0) {
            return words[i].type == JSON_NULL ? json_null() : json_boolean(words[i].type == JSON_TRUE);
        }
    }
    const char *unsigned_part = s + (*s == '+' || *s == '-');
    if (strcasecmp(unsigned_part, ".inf") == 0 || strcasecmp(s, ".nan") == 0) {
        return NULL;
    }
    json_t *number = plain_number(s, len);
    return number != NULL ? number : json_stringn(s, len);
}

static json_t *read_value(struct reader *r, const yaml_event_t *ev);

static json_t *read_sequence(struct reader *r)
{
    json_t *list = json_array();
    for (;;) {
        yaml_event_t ev;
        if (!yaml_parser_parse(&r->parser, &ev)) {
            json_decref(list);
            return fail(r, r->parser.problem);
        }
        if (ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            return list;
        }
        json_t *item = read_value(r, &ev);
        yaml_event_delete(&ev);
        if (item == NULL) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, item);
    }
}

static json_t *read_mapping(struct reader *r)
{
    json_t *map = json_object();
    for (;;) {
        yaml_event_t key, ev;
        if (!yaml_parser_parse(&r->parser, &key)) {
            json_decref(map);
            return fail(r, r->parser.problem);
        }
        if (key.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&key);
            return map;
        }
        const char *name = key.type == YAML_SCALAR_EVENT ? (const char *)key.data.scalar.value : NULL;
        json_t *value = NULL;
        if (name == NULL) {
            fail(r, "a key must be a scalar");
        } else if (strlen(name) != key.data.scalar.length) {
            fail(r, "a key holds NUL");
        } else if (json_object_get(map, name) != NULL) {
            fail(r, "a key stands twice");
        } else if (!yaml_parser_parse(&r->parser, &ev)) {
            fail(r, r->parser.problem);
        } else {
            value = read_value(r, &ev);
            yaml_event_delete(&ev);
        }
        if (value != NULL && json_object_set_new(map, name, value) < 0) {
            fail(r, "a key is not valid UTF-8");
            value = NULL;
        }
        yaml_event_delete(&key);
        if (value == NULL) {
            json_decref(map);
            return NULL;
        }
    }
}

static bool has_tag(const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        return ev->data.scalar.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return ev->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return ev->data.mapping_start.tag != NULL;
    default:
        return false;
    }
}

static json_t *read_value(struct reader *r, const yaml_event_t *ev)
{
    json_t *v = NULL;
    if (++r->depth > YAML_DEPTH_MAX) {
        return fail(r, "too deep");
    }
    if (has_tag(ev)) {
        return fail(r, "tags are not supported");
    }
    switch (ev->type) {
    case YAML_SCALAR_EVENT: {
        const char *s = (const char *)ev->data.scalar.value;
        bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        v = plain ? plain_scalar(s, ev->data.scalar.length) : json_stringn(s, ev->data.scalar.length);
        if (v == NULL) {
            fail(r, "a scalar has no form in JSON");
        }
        break;
    }
    case YAML_SEQUENCE_START_EVENT:
        v = read_sequence(r);
        break;
    case YAML_MAPPING_START_EVENT:
        v = read_mapping(r);
        break;
    default:
        fail(r, "aliases are not supported");
    }
    r->depth--;
    return v;
}

/* The one document of the stream. */
static json_t *read_document(struct reader *r)
{
    json_t *v = NULL;
    for (;;) {
        yaml_event_t ev;
        if (!yaml_parser_parse(&r->parser, &ev)) {
            json_decref(v);
            return fail(r, r->parser.problem);
        }
        bool ended = ev.type == YAML_STREAM_END_EVENT;
        bool value =
            !ended && ev.type != YAML_STREAM_START_EVENT && ev.type != YAML_DOCUMENT_START_EVENT && ev.type != YAML_DOCUMENT_END_EVENT;
        bool second = value && v != NULL;
        if (value && !second) {
            v = read_value(r, &ev);
        }
        yaml_event_delete(&ev);
        if (second) {
            json_decref(v);
            return fail(r, "there is more than one document");
        }
        if (ended) {
            return v != NULL ? v : fail(r, "the document is empty");
        }
        if (value && v == NULL) {
            return NULL;
        }
    }
}

json_t *json_read_yaml(struct arena *a, const char *text, size_t len, struct err *e)
{
    struct reader r = {.e = e};
    if (!yaml_parser_initialize(&r.parser)) {
        err_set(e, ERR_INTERNAL, "out of memory: YAML");
        return NULL;
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    json_t *v = read_document(&r);
    yaml_parser_delete(&r.parser);
    return v != NULL ? json_own(a, v) : NULL;
}
