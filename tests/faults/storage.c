/* A disk that fails on command, for one real process: preloaded, it makes the n-th call that changes a file below
 * FAULT_ROOT fail. The plan is eight 32-bit numbers in the file FAULT_PLAN, shared with the test:
 *   0 armed   1 which call, from 0   2 errno   3 how many fail from there on   4 calls seen since it was armed
 *   5 calls failed   6 milliseconds that every sync takes                 7 unused                                    */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile int *plan;
static char root[PATH_MAX];
static size_t root_size;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULT_PLAN"), *below = getenv("FAULT_ROOT");
    int file = path && below ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *shared = mmap(NULL, 32, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (shared == MAP_FAILED || !realpath(below, root)) return;
    root_size = strlen(root);
    plan = shared;
}

/* The node's log shows where it struck. */
static int strikes(const char *what, const char *path) {
    int number = __sync_fetch_and_add(&plan[4], 1);
    if (number < plan[1] || number - plan[1] >= plan[3]) return 0;
    __sync_fetch_and_add(&plan[5], 1);
    dprintf(2, "a fault: call %d, %s of %s\n", number, what, path + root_size);
    errno = plan[2];
    return 1;
}

static int watched(const char *path) { return strncmp(path, root, root_size) == 0; }

static int fails(const char *what, int file) {
    char name[64], path[PATH_MAX];
    if (!plan || !plan[0]) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t size = readlink(name, path, sizeof path - 1);
    if (size <= 0) return 0;
    path[size] = 0;
    return watched(path) && strikes(what, path);
}

static int fails_at(const char *what, const char *path) {
    char full[PATH_MAX];
    if (!plan || !plan[0]) return 0;
    if (path[0] != '/') {
        if (!getcwd(full, sizeof full)) return 0;
        strncat(full, "/", sizeof full - strlen(full) - 1);
        strncat(full, path, sizeof full - strlen(full) - 1);
        path = full;
    }
    return watched(path) && strikes(what, path);
}

#define REAL(type, name, ...)                          \
    static type (*real)(__VA_ARGS__);                  \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define ON_FILE(type, name, parameters, arguments, ...) \
    type name parameters {                              \
        REAL(type, name, __VA_ARGS__);                  \
        return fails(#name, file) ? -1 : real arguments;       \
    }

ON_FILE(ssize_t, write, (int file, const void *data, size_t size), (file, data, size), int, const void *, size_t)
ON_FILE(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at), int, const void *,
        size_t, off_t)
ON_FILE(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at), int,
        const void *, size_t, off64_t)
ON_FILE(ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count), int,
        const struct iovec *, int)
#define SYNCS(name)                                                        \
    int name(int file) {                                                   \
        REAL(int, name, int);                                              \
        if (plan && plan[6]) usleep((useconds_t)plan[6] * 1000);           \
        return fails(#name, file) ? -1 : real(file);                       \
    }

SYNCS(fsync)
SYNCS(fdatasync)
ON_FILE(int, ftruncate, (int file, off_t size), (file, size), int, off_t)
ON_FILE(int, ftruncate64, (int file, off64_t size), (file, size), int, off64_t)

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    return fails_at(__func__, to) ? -1 : real(from, to);
}

int renameat(int at, const char *from, int where, const char *to) {
    REAL(int, renameat, int, const char *, int, const char *);
    return fails_at(__func__, to) ? -1 : real(at, from, where, to);
}

int link(const char *from, const char *to) {
    REAL(int, link, const char *, const char *);
    return fails_at(__func__, to) ? -1 : real(from, to);
}

int linkat(int at, const char *from, int where, const char *to, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    return fails_at(__func__, to) ? -1 : real(at, from, where, to, flags);
}

#define OPENS(name)                                                          \
    int name(const char *path, int flags, ...) {                             \
        REAL(int, name, const char *, int, ...);                             \
        va_list rest;                                                        \
        va_start(rest, flags);                                               \
        mode_t mode = va_arg(rest, mode_t);                                  \
        va_end(rest);                                                        \
        int makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;   \
        return makes && fails_at(#name, path) ? -1 : real(path, flags, mode);       \
    }

OPENS(open)
OPENS(open64)
