#pragma once
// System headers come first: defining _FILE_OFFSET_BITS before them would give `flock` two
// definitions in two modules.
#include <stddef.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>

/// fuse_session_new is a versioned macro in some releases, which Swift cannot call.
static inline struct fuse_session *CFuse_session_new(
    struct fuse_args *arguments, const struct fuse_lowlevel_ops *operations, void *userdata) {
    return fuse_session_new(arguments, operations, sizeof(*operations), userdata);
}
