/* service.h: what the service says about itself. */
#ifndef API_SERVICE_H
#define API_SERVICE_H

#include "core/err.h"

/* Once: reads the description of the realtime interface. */
int service_start(struct err *e) __attribute__((warn_unused_result));

#endif
