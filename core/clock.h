/* clock.h: wall and monotonic time in milliseconds, and RFC 3339 text. Tests may replace both clocks. */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stdint.h>

#define CLOCK_TEXT_MAX 32 /* "2026-11-24T04:15:57.123Z" and a NUL, with room */

int64_t clock_wall_ms(void); /* since the Unix epoch */
int64_t clock_mono_ms(void); /* since an arbitrary start; never goes back */
int64_t clock_mono_us(void);

/* RFC 3339 in UTC with three decimals and "Z". Times outside the years 0000–9999 are clamped. Returns out. */
char *clock_format(int64_t wall_ms, char out[CLOCK_TEXT_MAX]);

/* Parses RFC 3339 date-time (any offset, any number of decimals, cut to ms). 0, or -1 when it is not one. */
int clock_parse(const char *text, int64_t *wall_ms_r) __attribute__((warn_unused_result));

/* For tests: NULL restores the real clock. */
void clock_replace(int64_t (*wall_ms)(void), int64_t (*mono_ms)(void));

#endif
