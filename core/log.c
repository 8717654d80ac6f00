#include "core/log.h"

#include "core/buf.h"
#include "core/clock.h"
#include "core/text.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

static struct {
    char component[24];
    char node[40];
    enum log_level lowest;
    bool terminal;
} setup = {.component = "parley", .lowest = LOG_INFO};

static _Thread_local char context_app[ID_TEXT_MAX];
static _Thread_local char context_request[65];

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_start(const char *component, const char *node, enum log_level lowest)
{
    snprintf(setup.component, sizeof(setup.component), "%s", component);
    snprintf(setup.node, sizeof(setup.node), "%s", node);
    setup.lowest = lowest;
    setup.terminal = isatty(STDERR_FILENO);
}

int log_level_parse(const char *name, enum log_level *level_r)
{
    for (int i = 0; i <= LOG_ERROR; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level_r = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

/* Control characters would let input forge lines or drive the terminal. */
static void make_printable(char *s)
{
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20 || c >= 0x7f) {
            *s = '?';
        }
    }
}

void log_context(const struct app_id *app, const char *request_id)
{
    context_app[0] = '\0';
    if (app != NULL) {
        app_id_print(app, context_app);
    }
    snprintf(context_request, sizeof(context_request), "%s", request_id != NULL ? request_id : "");
    make_printable(context_request);
}

static void add_field(struct buf *line, const char *name, const char *value)
{
    if (value[0] != '\0') {
        buf_addf(line, ",\"%s\":", name);
        buf_add_json_string(line, value, strlen(value));
    }
}

static void print_json(struct buf *line, const char *now, enum log_level level, const char *code, const char *msg)
{
    buf_addf(line, "{\"ts\":\"%s\",\"level\":\"%s\"", now, level_names[level]);
    add_field(line, "component", setup.component);
    add_field(line, "node", setup.node);
    add_field(line, "app", context_app);
    add_field(line, "request_id", context_request);
    add_field(line, "code", code);
    add_field(line, "msg", msg);
    buf_adds(line, "}\n");
}

static void print_text(struct buf *line, const char *now, enum log_level level, const char *code, const char *msg)
{
    static const char *const colours[] = {"\033[2m", "", "\033[33m", "\033[31m"};
    buf_addf(line, "%s%.12s %-5s %s: %s code=%s", colours[level], now + 11, level_names[level], setup.component, msg, code);
    if (context_app[0] != '\0') {
        buf_addf(line, " app=%s", context_app);
    }
    if (context_request[0] != '\0') {
        buf_addf(line, " request_id=%s", context_request);
    }
    buf_adds(line, "\033[0m\n");
}

void log_event(enum log_level level, const char *code, const char *fmt, ...)
{
    if (level < setup.lowest) {
        return;
    }
    int saved = errno;
    char msg[1024], now[CLOCK_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    if (setup.terminal) {
        make_printable(msg);
    } else {
        text_repair(msg);
    }
    clock_format(clock_wall_ms(), now);
    struct buf line = {0};
    (setup.terminal ? print_text : print_json)(&line, now, level, code, msg);
    ssize_t written = write(STDERR_FILENO, line.data, line.len); /* one write: lines of threads do not mix; a full disk loses the line */
    (void)written;
    buf_free(&line);
    errno = saved;
}
