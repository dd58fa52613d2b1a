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

/// Names that the C library's own module leaves out; the test datastore passes them through.
#include <sys/xattr.h>

/// fuse_session_loop_mt is a versioned macro too. Serves until the file system is unmounted, with
/// at most `threads` threads; those that idle stay, so that their buffers are not made anew.
static inline int CFuse_session_loop(struct fuse_session *session, unsigned threads) {
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (!config) return -1;
    fuse_loop_cfg_set_max_threads(config, threads);
    fuse_loop_cfg_set_idle_threads(config, threads);
    int result = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    return result;
}
