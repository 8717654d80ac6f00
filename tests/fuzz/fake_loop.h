/* fake_loop.h: realtime/loop.h with a clock that stands until it is moved. */
#ifndef TESTS_FUZZ_FAKE_LOOP_H
#define TESTS_FUZZ_FAKE_LOOP_H

#include "realtime/loop.h"

#include <stdbool.h>

void fake_clock_reset(void);
/* Moves the clock by ms; calls turn() after each moment at which timers ran. */
void fake_clock_advance(int64_t ms, void (*turn)(void));
bool fake_timers_idle(void); /* none is armed */

#endif
