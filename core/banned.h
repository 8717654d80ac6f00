/* banned.h: force-included into every file of Parley's own (-include core/banned.h). Functions that are unsafe, or that belong to storage/ alone,
 * do not compile. Poisoning must follow the headers that declare the names, hence the includes. storage/ defines PARLEY_STORAGE. */
#ifndef CORE_BANNED_H
#define CORE_BANNED_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#pragma GCC poison strcpy strcat stpcpy sprintf vsprintf strtok gets asctime ctime gmtime localtime srand
#ifndef PARLEY_STORAGE
#pragma GCC poison PGconn PGresult PQexec PQexecParams PQexecPrepared PQsendQuery PQconnectdb redisContext redisAsyncContext redisCommand \
    redisAsyncCommand redisConnect
#endif

#endif
