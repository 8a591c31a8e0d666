/* Reads and writes below the trusted procfs that init opened before the container's mounts existed. */
#ifndef PROCFS_H
#define PROCFS_H

#include <sys/types.h>

#include "operations.h"

int write_procfs(struct run *run, const char *path, const char *value);
int write_own(struct run *run, const char *file, const char *value);
int own_path(const struct run *run, const char *file, char *ret_path, size_t size);
int reopen(const struct run *run, int fd, int flags);
int change_mode(const struct run *run, int fd, mode_t mode);

#endif
