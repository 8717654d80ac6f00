/* health.h: is this process ready to serve? Looked at in the background each half second, so that a probe never waits for a server that is away. */
#ifndef API_HEALTH_H
#define API_HEALTH_H

#include "core/arena.h"
#include "core/config.h"

#include <stdbool.h>

void health_start(void);
void health_drain(void); /* not ready from now on */

/* Ready, leaving out the checks in `exclude` (a comma-separated list; NULL = none)? text_r (may be NULL): one line a check, "[+]postgres ok". */
bool health_ready(struct arena *a, const char *exclude, const char **text_r);
bool health_started(void); /* has been ready once */

/* Postgres did not answer when it was last looked at: whoever needs it is better refused at once than kept waiting on a thread that others need. */
bool health_storage_away(void);

#endif
