/* fuzz.h: what the fuzzers share. An input is text wherever that is possible, so that a find can be read and a seed be written by hand. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the code under test: a breach ends the run, and libFuzzer keeps the input. */
#define HOLDS(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what); \
            abort(); \
        } \
    } while (0)

/* A copy of exactly this length on the heap: AddressSanitizer sees the first byte that is read beyond it. The caller frees it. */
static inline char *exact_copy(const void *p, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1);
    HOLDS(copy != NULL);
    if (len > 0) {
        memcpy(copy, p, len);
    }
    return copy;
}

#endif
