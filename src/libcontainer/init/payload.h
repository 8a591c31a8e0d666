/* Executing a program: its arguments, descriptors and environment. */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "operations.h"

char **string_vector(const struct run *run, struct texts values, size_t spare);
void close_from(int first, int keep);
void close_inherited(int channel);
void make_signals_end_us(void);

#endif
