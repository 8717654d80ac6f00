/* log.h: one line per event on stderr: JSON, or readable text when stderr is a terminal.
 *
 * Message bodies, tokens and keys are never logged. The context (app, request or connection id) is kept per thread and added to each line. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "core/ids.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Process-wide, before the first line: component ("api", "realtime", …), node id or "", the lowest level that is written. */
void log_start(const char *component, const char *node, enum log_level lowest);
int log_level_parse(const char *name, enum log_level *level_r) __attribute__((warn_unused_result));

/* `code` is a stable snake_case word (documented for WARN and ERROR); the text is for people. Safe from any thread; errno is
 * kept. Input in the text cannot forge a line: it is escaped. */
void log_event(enum log_level level, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define log_debug(code, ...) log_event(LOG_DEBUG, code, __VA_ARGS__)
#define log_info(code, ...) log_event(LOG_INFO, code, __VA_ARGS__)
#define log_warn(code, ...) log_event(LOG_WARN, code, __VA_ARGS__)
#define log_error(code, ...) log_event(LOG_ERROR, code, __VA_ARGS__)

/* This thread's context; NULL or "" clears a part. The texts are copied (cut at 64 bytes). */
void log_context(const struct app_id *app, const char *request_id);

#endif
