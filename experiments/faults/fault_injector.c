/* LD_PRELOAD: the FAULT_N-th call of FAULT_CALL fails with FAULT_ERRNO, where FAULT_CALL is
 *   write, fsync, rename, mmap   on a file below FAULT_UNDER
 *   memory                       an allocation of 64 KiB or more
 * Without FAULT_N it counts: at the end "write 12\nfsync 7\n…" is written to FAULT_COUNTS. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum call { CALL_WRITE, CALL_FSYNC, CALL_RENAME, CALL_MMAP, CALL_MEMORY, NUM_CALLS };
static const char *const kNames[NUM_CALLS] = {"write", "fsync", "rename", "mmap", "memory"};
static atomic_long counts[NUM_CALLS];

static int is_below(const char *path) {
  const char *under = getenv("FAULT_UNDER");
  return under != NULL && path[0] == '/' && strncmp(path, under, strlen(under)) == 0;
}

static int is_ours(int descriptor) {
  char link[64], path[PATH_MAX];
  if (descriptor < 3) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return is_below(path);
}

/* Whether this call is the one that fails; sets errno. */
static int fails(enum call call) {
  long number = atomic_fetch_add(&counts[call], 1) + 1;
  const char *wanted = getenv("FAULT_CALL"), *n = getenv("FAULT_N"), *error = getenv("FAULT_ERRNO");
  if (wanted == NULL || n == NULL || strcmp(wanted, kNames[call]) != 0 || number != atol(n)) return 0;
  errno = error != NULL ? atoi(error) : EIO;
  return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
  if (is_ours(fd) && fails(CALL_WRITE)) return -1;
  return syscall(SYS_write, fd, data, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (is_ours(fd) && fails(CALL_WRITE)) return -1;
  return syscall(SYS_writev, fd, parts, count);
}
int fsync(int fd) { return is_ours(fd) && fails(CALL_FSYNC) ? -1 : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return is_ours(fd) && fails(CALL_FSYNC) ? -1 : (int)syscall(SYS_fdatasync, fd); }
int rename(const char *from, const char *to) { return is_below(to) && fails(CALL_RENAME) ? -1 : NEXT(rename)(from, to); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
  return is_below(to) && fails(CALL_RENAME) ? -1 : NEXT(renameat2)(a, from, b, to, flags);
}
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
  if (fd >= 0 && is_ours(fd) && fails(CALL_MMAP)) return MAP_FAILED;
  return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);

static int is_large(size_t size) { return size >= 65536; }
void *malloc(size_t size) { return is_large(size) && fails(CALL_MEMORY) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) {
  return size != 0 && is_large(count * size) && fails(CALL_MEMORY) ? NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) { return is_large(size) && fails(CALL_MEMORY) ? NULL : __libc_realloc(old, size); }
int posix_memalign(void **memory, size_t alignment, size_t size) {
  if (is_large(size) && fails(CALL_MEMORY)) return ENOMEM;
  *memory = __libc_memalign(alignment, size);
  return *memory == NULL ? ENOMEM : 0;
}

__attribute__((destructor)) static void say_counts(void) {
  const char *file = getenv("FAULT_COUNTS");
  FILE *out = file != NULL ? fopen(file, "w") : NULL;
  if (out == NULL) return;
  for (int call = 0; call < NUM_CALLS; ++call) fprintf(out, "%s %ld\n", kNames[call], counts[call]);
  fclose(out);
}
