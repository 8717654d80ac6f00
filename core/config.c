#include "core/config.h"

#include "core/arena.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

enum kind { STR, SECRET, INT, MS, BYTES, BOOL };

static const struct setting {
    enum kind kind;
    size_t offset;
    const char *variable, *otherwise;
    int64_t min, max;
    const char *programs, *doc;
} settings[] = {
#define C(kind, field, variable, otherwise, min, max, programs, doc) \
    {kind, offsetof(struct config, field), "PARLEY_" variable, otherwise, min, max, programs, doc},
    CONFIG(C)
#undef C
};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

#define SECRET_MAX 4096

/* Settings live as long as the process. */
static char *keep(const char *s)
{
    static struct arena *arena;
    if (arena == NULL) {
        arena = arena_new("config");
    }
    return arena_strdup(arena, s);
}

static int read_number(const struct setting *s, const char *text, void *field, struct err *e)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (strspn(text, "-0123456789") != strlen(text) || end == text || *end != '\0' || errno != 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "%s must be a whole number, not \"%.40s\".", s->variable, text);
    }
    int64_t max = s->kind == BOOL ? 1 : s->max;
    if (n < s->min || n > max) {
        return err_set(e, ERR_VALIDATION_FAILED, "%s must be from %lld to %lld, not %lld.", s->variable, (long long)s->min, (long long)max,
                       n);
    }
    if (s->kind == BOOL) {
        *(bool *)field = n != 0;
    } else {
        *(int *)field = (int)n;
    }
    return 0;
}

static int check_secret_file(const char *variable, const char *path, int fd, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return err_set(e, ERR_VALIDATION_FAILED, "%s: %.80s is not a regular file.", variable, path);
    }
    if ((st.st_mode & 077) != 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "%s: %.80s can be read by others; chmod it to 0400.", variable, path);
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "%s: %.80s belongs to another user.", variable, path);
    }
    return 0;
}

/* Into text[SECRET_MAX + 2]. Its length; 0 or -1: none that can be used. */
static ssize_t read_first_line(int fd, char *text)
{
    ssize_t n = read(fd, text, SECRET_MAX + 1);
    if (n <= 0) {
        return -1;
    }
    text[n] = '\0';
    size_t len = strcspn(text, "\r\n");
    bool cut = len > SECRET_MAX, holds_nul = len < (size_t)n && text[len] == '\0';
    text[len] = '\0';
    return cut || holds_nul ? -1 : (ssize_t)len;
}

static int read_secret(const char *variable, const char *path, const char **value_r, struct err *e)
{
    char text[SECRET_MAX + 2];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hold up the start */
    if (fd < 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "%s: cannot open %.80s: %s.", variable, path, strerror(errno));
    }
    ssize_t n = -1;
    if (check_secret_file(variable, path, fd, e) == 0) {
        n = read_first_line(fd, text);
        if (n <= 0) {
            err_set(e, ERR_VALIDATION_FAILED, "%s: %.80s must hold the secret, at most %d bytes, in its first line.", variable, path,
                    SECRET_MAX);
        }
    }
    close(fd);
    if (n > 0) {
        *value_r = keep(text);
    }
    explicit_bzero(text, sizeof(text));
    return n > 0 ? 0 : -1;
}

static int read_setting(const struct setting *s, struct config *c, struct err *e)
{
    void *field = (char *)c + s->offset;
    if (s->kind == SECRET) {
        char file[80];
        snprintf(file, sizeof(file), "%s_FILE", s->variable);
        const char *path = getenv(file);
        *(const char **)field = "";
        return path == NULL ? 0 : read_secret(file, path, field, e);
    }
    const char *text = getenv(s->variable);
    if (text == NULL) {
        text = s->otherwise;
    }
    if (s->kind == STR) {
        *(const char **)field = keep(text);
        return 0;
    }
    return read_number(s, text, field, e);
}

/* Belong to the local stack and the tests, not to the programs. */
static bool foreign(const char *variable)
{
    static const char *const names[] = {"PARLEY_DATA_DIR", "PARLEY_BIN", "PARLEY_VERSION", "PARLEY_COMMIT"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(variable, names[i]) == 0) {
            return true;
        }
    }
    return strncmp(variable, "PARLEY_TEST_", 12) == 0 || strncmp(variable, "PARLEY_DEV_", 11) == 0;
}

/* The row that `variable` sets (the rows of other programs too), NULL: none. */
static const struct setting *row_of(const char *variable)
{
    size_t len = strlen(variable);
    for (size_t i = 0; i < SETTINGS; i++) {
        size_t n = strlen(settings[i].variable);
        if (strncmp(variable, settings[i].variable, n) != 0) {
            continue;
        }
        if (len == n || (settings[i].kind == SECRET && strcmp(variable + n, "_FILE") == 0)) {
            return &settings[i];
        }
    }
    return NULL;
}

static int unknown(const char *variable, struct err *e)
{
    char name[80], nearest[80] = "";
    int best = TEXT_FAR;
    for (size_t i = 0; i < SETTINGS; i++) {
        snprintf(name, sizeof(name), "%s%s", settings[i].variable, settings[i].kind == SECRET ? "_FILE" : "");
        if (text_nearer(variable, name, &best)) {
            memcpy(nearest, name, sizeof(nearest));
        }
    }
    if (nearest[0] != '\0') {
        return err_set(e, ERR_VALIDATION_FAILED, "unknown setting %s; did you mean %s?", variable, nearest);
    }
    return err_set(e, ERR_VALIDATION_FAILED, "unknown setting %s; docs/CONFIG.md lists them.", variable);
}

/* A misspelt variable must not silently leave a default in force, and a secret in the environment is inherited by every child. */
static int check_environment(struct err *e)
{
    for (char **v = environ; *v != NULL; v++) {
        char name[80];
        const char *end = strchr(*v, '=');
        if (strncmp(*v, "PARLEY_", 7) != 0 || end == NULL) {
            continue;
        }
        snprintf(name, sizeof(name), "%.*s", (int)(end - *v), *v);
        if (foreign(name)) {
            continue;
        }
        const struct setting *s = row_of(name);
        if (s == NULL) {
            return unknown(name, e);
        }
        if (s->kind == SECRET && strcmp(name, s->variable) == 0) {
            return err_set(e, ERR_VALIDATION_FAILED,
                           "%s must not be in the environment: put it into a file of mode 0400 and name that in %s_FILE.", name, name);
        }
    }
    return 0;
}

int config_load(struct config *c, char program, struct err *e)
{
    struct config fresh = {0};
    if (check_environment(e) < 0) {
        return -1;
    }
    for (size_t i = 0; i < SETTINGS; i++) {
        if (strchr(settings[i].programs, program) != NULL && read_setting(&settings[i], &fresh, e) < 0) {
            return -1;
        }
    }
    *c = fresh;
    return 0;
}

static void print_programs(FILE *out, const char *programs)
{
    static const char *const names[][2] = {{"A", "api"}, {"R", "realtime"}, {"V", "archive"}, {"M", "migrate"}};
    const char *comma = "";
    for (size_t i = 0; i < 4; i++) {
        if (strchr(programs, names[i][0][0]) != NULL) {
            fprintf(out, "%s%s", comma, names[i][1]);
            comma = ", ";
        }
    }
}

void config_print_docs(FILE *out)
{
    fputs("# Configuration\n\nPrinted from the table in core/config.h by `make docs`.\n\n"
          "Settings come from the environment. Secrets come only from files (mode 0400 or 0600, owned by the program's user or root) that "
          "the\n"
          "`…_FILE` variables name. An unknown `PARLEY_` variable, a value out of bounds or a secret that others can read stops the "
          "start.\n\n"
          "| variable | default | bounds | programs | meaning |\n|---|---|---|---|---|\n",
          out);
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *s = &settings[i];
        fprintf(out, "| `%s%s` | ", s->variable, s->kind == SECRET ? "_FILE" : "");
        fprintf(out, s->otherwise[0] != '\0' ? "`%s` | " : "%s– | ", s->otherwise);
        if (s->kind == STR || s->kind == SECRET) {
            fputs("–", out);
        } else {
            fprintf(out, "%lld–%lld%s", (long long)s->min, (long long)(s->kind == BOOL ? 1 : s->max),
                    s->kind == MS      ? " ms"
                    : s->kind == BYTES ? " bytes"
                                       : "");
        }
        fputs(" | ", out);
        print_programs(out, s->programs);
        fprintf(out, " | %s |\n", s->doc);
    }
}
