/* Copy-up: a new tmpfs gets the content that the directory below it had (mount option "tmpcopyup"). */
#pragma once

/* Copies what is in the directory `source_dir_fd` into the empty directory `dest_dir_fd`: directories, regular files (with
 * their holes), symlinks, fifos, sockets, devices; with mode, owner and times. Not copied: the attributes of the directory
 * itself (they are options of the tmpfs), hard links as such (each name gets a file of its own), extended attributes
 * (`security.capability` would give rights to a file that may since have another owner).
 *
 * Returns 0 for a whole copy, or the number of entries that this user namespace or user may not copy as they are: a
 * device that it may not make is left out; a file whose owner it may not set belongs to the caller, without its set-user-id
 * and set-group-id bits. Anything else that fails is a negative errno: -ENAMETOOLONG deeper than 128 directories, -EAGAIN
 * for an entry that changed its type meanwhile. What was copied until then is left in place.
 *
 * The source may belong to somebody hostile: no symlink of it is followed, and a file is copied up to the size that it
 * had when it was opened. The destination must be out of others' reach. No lookup leaves either directory. */
int copy_up(int source_dir_fd, int dest_dir_fd);
