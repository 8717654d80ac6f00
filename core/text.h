/* text.h: what several files must know about text. */
#ifndef CORE_TEXT_H
#define CORE_TEXT_H

#include <stdbool.h>

/* Makes s valid UTF-8 in place: a sequence cut off at the end is dropped, every other stray byte becomes "?". For text that was cut to the size
 * of a field or comes from outside: JSON cannot hold it otherwise. */
void text_repair(char *s);

/* For "did you mean …": true when `candidate` is a likely spelling of `word` and nearer than all before it. *best starts as TEXT_FAR. */
#define TEXT_FAR 255
bool text_nearer(const char *word, const char *candidate, int *best);

#endif
