#include "core/err.h"

#include "core/text.h"

#include <assert.h>
#include <stdarg.h>

static const struct {
    int http;
    const char *name;
    bool retryable;
    const char *title;
} errors[] = {
#define E(code, http, wire, retryable, title) [ERR_##code] = {http, wire, retryable, title},
    ERRORS(E)
#undef E
};

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    e->code = code;
    e->pointer[0] = '\0';
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    text_repair(e->msg);
    return -1;
}

int err_at(struct err *e, enum err_code code, const char *pointer, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    e->code = code;
    snprintf(e->pointer, sizeof(e->pointer), "%s", pointer);
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    text_repair(e->pointer);
    text_repair(e->msg);
    return -1;
}

int err_http_status(enum err_code code)
{
    assert(code < ERR_COUNT);
    return errors[code].http;
}

const char *err_name(enum err_code code)
{
    assert(code < ERR_COUNT);
    return errors[code].name;
}

const char *err_title(enum err_code code)
{
    assert(code < ERR_COUNT);
    return errors[code].title;
}

bool err_retryable(enum err_code code)
{
    assert(code < ERR_COUNT);
    return errors[code].retryable;
}
