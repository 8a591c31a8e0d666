/* Binds by descriptor, and the classic mount(2) on descriptors, for the rooms that need it as a fallback. */
#ifndef MOUNTS_H
#define MOUNTS_H

#include "operations.h"

int mount_through_procfs(struct run *run, const char *source, int target, const char *fstype, unsigned long flags,
			 const char *data);
/* Bind what `source` is over `target`; `path` is its name in errors. */
int bind_over(struct run *run, int source, int target, const char *path);
int bind_through_procfs(struct run *run, int source, int target, unsigned long flags);
int remount_through_procfs(struct run *run, int fd, unsigned long set, unsigned long clear);

#endif
