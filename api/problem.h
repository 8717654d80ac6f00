/* problem.h: errors as RFC 9457 problem details. */
#ifndef API_PROBLEM_H
#define API_PROBLEM_H

#include "api/req.h"

/* Once: the prefix of the type URIs. */
void problem_start(const char *docs_url);

/* Makes *e the reply. A 5xx body says nothing about the cause, which goes to the log instead. */
void problem_reply(struct req *r, const struct err *e);

/* One problem as a JSON object, for the results of a batch: type, title, status, detail, code, retryable. */
json_t *problem_json(struct arena *a, const struct err *e);

#endif
