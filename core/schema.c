#include "core/schema.h"

#include "core/clock.h"
#include "core/text.h"

#include <pthread.h>
#include <regex.h>
#include <stdarg.h>
#include <stdbool.h>

struct check {
    const json_t *document;
    struct schema_report *report;
    char pointer[96]; /* of the value being checked */
    size_t branch_at; /* length of the pointer where the innermost oneOf or anyOf stands */
    int misfits;      /* signs that another branch was meant */
};

static int check(struct check *c, const json_t *schema, const json_t *value);

/* ---- problems ---- */

static int problem(struct check *c, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int problem(struct check *c, const char *code, const char *fmt, ...)
{
    if (c->report->count < SCHEMA_PROBLEMS_MAX) {
        struct schema_problem *p = &c->report->problems[c->report->count];
        va_list ap;
        va_start(ap, fmt);
        snprintf(p->pointer, sizeof(p->pointer), "%s", c->pointer);
        snprintf(p->code, sizeof(p->code), "%s", code);
        vsnprintf(p->detail, sizeof(p->detail), fmt, ap);
        va_end(ap);
        text_repair(p->pointer);
        text_repair(p->detail);
    }
    c->report->count++;
    return -1;
}

/* Appends "/key" with RFC 6901 escapes; returns the length to go back to. */
static size_t descend(struct check *c, const char *key)
{
    size_t before = strlen(c->pointer), at = before;
    if (at + 1 < sizeof(c->pointer)) {
        c->pointer[at++] = '/';
    }
    for (; *key != '\0' && at + 3 < sizeof(c->pointer); key++) {
        if (*key == '~' || *key == '/') {
            c->pointer[at++] = '~';
            c->pointer[at++] = *key == '~' ? '0' : '1';
        } else {
            c->pointer[at++] = *key;
        }
    }
    c->pointer[at] = '\0';
    return before;
}

static int check_below(struct check *c, const char *key, const json_t *schema, const json_t *value)
{
    size_t before = descend(c, key);
    int result = check(c, schema, value);
    c->pointer[before] = '\0';
    return result;
}

/* ---- references ---- */

static const json_t *follow(const json_t *document, const char *ref)
{
    if (strncmp(ref, "#/", 2) != 0) {
        return NULL;
    }
    const json_t *at = document;
    const char *p = ref + 2;
    while (at != NULL) {
        size_t len = strcspn(p, "/");
        char key[128];
        size_t n = 0;
        for (size_t i = 0; i < len && n + 1 < sizeof(key); i++) {
            bool escape = p[i] == '~' && i + 1 < len;
            key[n++] = escape ? (p[++i] == '1' ? '/' : '~') : p[i];
        }
        key[n] = '\0';
        at = json_object_get(at, key);
        if (p[len] == '\0') {
            return at;
        }
        p += len + 1;
    }
    return NULL;
}

const json_t *schema_resolve(const json_t *document, const json_t *schema)
{
    for (int hops = 0; schema != NULL && hops < 16; hops++) {
        const json_t *ref = json_object_get(schema, "$ref");
        if (!json_is_string(ref)) {
            return schema;
        }
        schema = follow(document, json_string_value(ref));
    }
    return NULL;
}

/* ---- patterns: compiled once, kept for the life of the process ---- */

static struct pattern {
    struct pattern *next;
    char *text;
    regex_t regex;
    bool valid;
} * patterns;
static pthread_mutex_t patterns_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct pattern *pattern_get(const char *text)
{
    pthread_mutex_lock(&patterns_lock);
    struct pattern *p = patterns;
    while (p != NULL && strcmp(p->text, text) != 0) {
        p = p->next;
    }
    if (p == NULL) {
        p = calloc(1, sizeof(*p));
        if (p == NULL || (p->text = strdup(text)) == NULL) {
            fputs("out of memory: pattern\n", stderr);
            abort();
        }
        p->valid = regcomp(&p->regex, text, REG_EXTENDED | REG_NOSUB) == 0;
        p->next = patterns;
        patterns = p;
    }
    pthread_mutex_unlock(&patterns_lock);
    return p;
}

/* ---- keywords ---- */

static bool is_type(const json_t *value, const char *type)
{
    if (strcmp(type, "integer") == 0) {
        return json_is_integer(value);
    }
    if (strcmp(type, "number") == 0) {
        return json_is_number(value);
    }
    static const char *const names[] = {"object", "array", "string", "integer", "number", "boolean", "boolean", "null"};
    return strcmp(names[json_typeof(value)], type) == 0;
}

static int check_type(struct check *c, const json_t *type, const json_t *value)
{
    if (json_is_string(type)) {
        return is_type(value, json_string_value(type)) ? 0 : problem(c, "wrong_type", "must be of type %s", json_string_value(type));
    }
    size_t i;
    json_t *one;
    json_array_foreach ((json_t *)type, i, one) {
        if (is_type(value, json_string_value(one))) {
            return 0;
        }
    }
    return problem(c, "wrong_type", "is of a type that is not allowed here");
}

static int check_enum(struct check *c, const json_t *allowed, const json_t *value)
{
    char list[120] = "";
    size_t i;
    json_t *one;
    json_array_foreach ((json_t *)allowed, i, one) {
        if (json_equal(one, value)) {
            return 0;
        }
        size_t used = strlen(list);
        if (json_is_string(one)) {
            snprintf(list + used, sizeof(list) - used, "%s%s", used > 0 ? ", " : "", json_string_value(one));
        }
    }
    return problem(c, "not_allowed", "must be one of %s", list);
}

static size_t code_points(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    }
    return n;
}

static bool is_uri(const char *s)
{
    return (strncmp(s, "https://", 8) == 0 && s[8] != '\0') || (strncmp(s, "http://", 7) == 0 && s[7] != '\0');
}

static int check_string(struct check *c, const json_t *schema, const json_t *value)
{
    const char *s = json_string_value(value);
    size_t n = code_points(s, json_string_length(value));
    const json_t *max = json_object_get(schema, "maxLength"), *min = json_object_get(schema, "minLength");
    const json_t *pattern = json_object_get(schema, "pattern"), *format = json_object_get(schema, "format");
    if (max != NULL && (json_int_t)n > json_integer_value(max)) {
        return problem(c, "too_long", "has %zu characters, the limit is %lld", n, (long long)json_integer_value(max));
    }
    if (min != NULL && (json_int_t)n < json_integer_value(min)) {
        return problem(c, "too_short", "has %zu characters, at least %lld are needed", n, (long long)json_integer_value(min));
    }
    if (pattern != NULL) {
        const struct pattern *p = pattern_get(json_string_value(pattern));
        if (!p->valid || regexec(&p->regex, s, 0, NULL, 0) != 0) {
            return problem(c, "pattern", "does not match %s", json_string_value(pattern));
        }
    }
    int64_t ms;
    if (format != NULL && strcmp(json_string_value(format), "date-time") == 0 && clock_parse(s, &ms) < 0) {
        return problem(c, "format", "must be an RFC 3339 date and time, such as 2026-11-24T04:15:57.000Z");
    }
    if (format != NULL && strcmp(json_string_value(format), "uri") == 0 && !is_uri(s)) {
        return problem(c, "format", "must be an http or https URL");
    }
    return 0;
}

static int check_number(struct check *c, const json_t *schema, const json_t *value)
{
    const json_t *min = json_object_get(schema, "minimum"), *max = json_object_get(schema, "maximum");
    double n = json_number_value(value);
    if (min != NULL && n < json_number_value(min)) {
        return problem(c, "out_of_range", "must be at least %.15g", json_number_value(min));
    }
    if (max != NULL && n > json_number_value(max)) {
        return problem(c, "out_of_range", "must be at most %.15g", json_number_value(max));
    }
    return 0;
}

static int check_count(struct check *c, const json_t *schema, const char *min_key, const char *max_key, size_t n)
{
    const json_t *min = json_object_get(schema, min_key), *max = json_object_get(schema, max_key);
    if (min != NULL && (json_int_t)n < json_integer_value(min)) {
        return problem(c, "too_short", "has %zu entries, at least %lld are needed", n, (long long)json_integer_value(min));
    }
    if (max != NULL && (json_int_t)n > json_integer_value(max)) {
        return problem(c, "too_long", "has %zu entries, the limit is %lld", n, (long long)json_integer_value(max));
    }
    return 0;
}

static bool has_twice(const json_t *list)
{
    size_t n = json_array_size(list);
    for (size_t i = 1; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (json_equal(json_array_get(list, i), json_array_get(list, j))) {
                return true;
            }
        }
    }
    return false;
}

static int check_array(struct check *c, const json_t *schema, const json_t *value)
{
    if (check_count(c, schema, "minItems", "maxItems", json_array_size(value)) < 0) {
        return -1;
    }
    if (json_is_true(json_object_get(schema, "uniqueItems")) && has_twice(value)) {
        return problem(c, "duplicate", "has the same entry twice");
    }
    const json_t *items = json_object_get(schema, "items");
    int result = 0;
    size_t i;
    json_t *one;
    json_array_foreach ((json_t *)value, i, one) {
        char index[24];
        snprintf(index, sizeof(index), "%zu", i);
        if (items != NULL && check_below(c, index, items, one) < 0) {
            result = -1;
        }
    }
    return result;
}

static int unknown_field(struct check *c, const json_t *properties, const char *key)
{
    const char *known, *nearest = NULL;
    int best = TEXT_FAR;
    json_t *value;
    json_object_foreach ((json_t *)properties, known, value) {
        if (text_nearer(key, known, &best)) {
            nearest = known;
        }
    }
    return nearest == NULL ? problem(c, "unknown_field", "is not a known field")
                           : problem(c, "unknown_field", "is not a known field; did you mean \"%s\"?", nearest);
}

static int check_member(struct check *c, const json_t *schema, const char *key, const json_t *value)
{
    const json_t *properties = json_object_get(schema, "properties"), *others = json_object_get(schema, "additionalProperties");
    const json_t *own = json_object_get(properties, key);
    if (own != NULL) {
        return check_below(c, key, own, value);
    }
    if (json_is_false(others)) {
        size_t before = descend(c, key);
        unknown_field(c, properties, key);
        c->pointer[before] = '\0';
        return -1;
    }
    return json_is_object(others) ? check_below(c, key, others, value) : 0;
}

static int check_object(struct check *c, const json_t *schema, const json_t *value)
{
    int result = check_count(c, schema, "minProperties", "maxProperties", json_object_size(value));
    size_t i;
    json_t *name;
    json_array_foreach (json_object_get(schema, "required"), i, name) {
        if (json_object_get(value, json_string_value(name)) == NULL) {
            size_t before = descend(c, json_string_value(name));
            result = problem(c, "required", "is required");
            c->pointer[before] = '\0';
        }
    }
    const char *key;
    json_t *member;
    json_object_foreach ((json_t *)value, key, member) {
        if (check_member(c, schema, key, member) < 0) {
            result = -1;
        }
    }
    return result;
}

/* Checks one branch by itself; its problems go to *report. The result says how far off it is: 0 fits. A value of another type or with another
 * constant was meant for another branch, which weighs more than any number of mistakes inside. */
static int check_branch(struct check *c, const json_t *branch, const json_t *value, struct schema_report *report)
{
    struct check inner = *c;
    report->count = 0;
    inner.report = report;
    inner.branch_at = strlen(c->pointer);
    inner.misfits = 0;
    return check(&inner, branch, value) == 0 ? 0 : inner.misfits * 1000 + report->count;
}

/* How many branches accept the value; the problems of the nearest refusal are kept in *nearest. */
static int count_matches(struct check *c, const json_t *branches, const json_t *value, struct schema_report *nearest)
{
    int matches = 0, least = -1;
    size_t i;
    json_t *branch;
    nearest->count = 0;
    json_array_foreach ((json_t *)branches, i, branch) {
        struct schema_report attempt;
        int off = check_branch(c, branch, value, &attempt);
        if (off == 0) {
            matches++;
        } else if (least < 0 || off < least) {
            least = off;
            *nearest = attempt;
        }
    }
    return matches;
}

static int take_over(struct check *c, const struct schema_report *from)
{
    for (int i = 0; i < from->count; i++) {
        if (i < SCHEMA_PROBLEMS_MAX && c->report->count < SCHEMA_PROBLEMS_MAX) {
            c->report->problems[c->report->count] = from->problems[i];
        }
        c->report->count++;
    }
    return -1;
}

static int check_branches(struct check *c, const json_t *schema, const json_t *value)
{
    const json_t *any = json_object_get(schema, "anyOf"), *one = json_object_get(schema, "oneOf"), *not = json_object_get(schema, "not");
    struct schema_report nearest;
    int result = 0;
    size_t i;
    json_t *part;
    json_array_foreach (json_object_get(schema, "allOf"), i, part) {
        if (check(c, part, value) < 0) {
            result = -1;
        }
    }
    if (any != NULL && count_matches(c, any, value, &nearest) == 0) {
        result = take_over(c, &nearest);
    }
    if (one != NULL) {
        int matches = count_matches(c, one, value, &nearest);
        if (matches != 1) {
            result = matches > 1 ? problem(c, "not_allowed", "fits more than one of the allowed forms") : take_over(c, &nearest);
        }
    }
    if (not != NULL && check_branch(c, not, value, &nearest) == 0) {
        result = problem(c, "not_allowed", "has a form that is not allowed");
    }
    return result;
}

static int check(struct check *c, const json_t *schema, const json_t *value)
{
    schema = schema_resolve(c->document, schema);
    if (schema == NULL || json_is_false(schema)) {
        return problem(c, "not_allowed", "is not allowed here");
    }
    const json_t *type = json_object_get(schema, "type"), *allowed = json_object_get(schema, "enum"),
                 *exact = json_object_get(schema, "const");
    if (type != NULL && check_type(c, type, value) < 0) {
        c->misfits += strlen(c->pointer) == c->branch_at ? 2 : 0; /* tells more than a wrong constant inside */
        return -1;
    }
    if (allowed != NULL && check_enum(c, allowed, value) < 0) {
        return -1;
    }
    if (exact != NULL && !json_equal(exact, value)) {
        c->misfits++;
        return json_is_string(exact) ? problem(c, "not_allowed", "must be \"%s\"", json_string_value(exact))
                                     : problem(c, "not_allowed", "must have its one fixed value");
    }
    int result = 0;
    switch (json_typeof(value)) {
    case JSON_STRING:
        result = check_string(c, schema, value);
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        result = check_number(c, schema, value);
        break;
    case JSON_ARRAY:
        result = check_array(c, schema, value);
        break;
    case JSON_OBJECT:
        result = check_object(c, schema, value);
        break;
    default:
        break;
    }
    return check_branches(c, schema, value) < 0 ? -1 : result;
}

int schema_check(const json_t *document, const json_t *schema, const json_t *value, struct schema_report *report_r)
{
    struct check c = {.document = document, .report = report_r};
    report_r->count = 0;
    return check(&c, schema, value);
}
