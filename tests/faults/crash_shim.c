/* Stands between a process and libc: counts every call that changes a folder or speaks to a server, and at the one
 * that it was told of kills the process, cuts the power, or lets the call fail.
 *
 * Preloaded, so that it sees SQLite's calls too. Nothing is counted before crash_arm(). What was written and not yet
 * synced is kept in an undo log: a failed fsync takes the file back to what was synced last, as the kernel may, and a
 * power cut takes everything back, names too. Whoever syncs a second time and believes it is found out by that.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum fault { CALM, KILL, KILL_BEHIND, POWER, IO_ERROR, NO_SPACE, SHORT, TORN, RESET, TIMEOUT };
enum { MAX_POINTS = 4096, TEXT = 120 };

struct shared {
  int count, hit;
  char text[MAX_POINTS][TEXT]; /* "call path", in order */
};

/* One thing that is not on the disk yet. Of data: what stood there before. Of a name: how to take it back. */
struct undo {
  struct undo *next;
  enum { DATA, MADE, RENAMED, REMOVED } kind;
  dev_t device;
  ino_t inode; /* of the file, or of the folder that has the name */
  int descriptor;
  off_t at, old_size;
  size_t length;
  char *old;
  char path[2][1024];
};

static struct shared *shared;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char folder[1024];
static char target[TEXT]; /* as in `text` */
static int armed, left, saved;
static enum fault fault;
static struct undo *undone;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

int crash_setup(void) { /* before the fork: what the child counts, the parent reads */
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return shared == MAP_FAILED ? -1 : 0;
}

/* Break the `nth` call of this text, as threads may come in another order than they did before. */
void crash_arm(const char *where, const char *text, int nth, int what) {
  snprintf(folder, sizeof folder, "%s", where), snprintf(target, sizeof target, "%s", text);
  left = nth, fault = what, shared->count = shared->hit = 0, armed = 1;
}

int crash_count(void) { return shared->count; }
int crash_hit(void) { return shared->hit; }
const char *crash_text(int number) { return number > 0 && number <= MAX_POINTS ? shared->text[number - 1] : ""; }

/* Which file or socket; NULL for what is none of ours. */
static const char *inside(const char *path) {
  size_t length = strlen(folder);
  if (!armed || strncmp(path, folder, length) || (path[length] && path[length] != '/')) return NULL;
  return path;
}

static const char *file_of(int fd, char *path, size_t size) {
  char link[64];
  if (!armed) return NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, size - 1);
  if (length < 0) return NULL;
  path[length] = 0;
  return inside(path);
}

static const char *server_of(int fd) {
  struct sockaddr_storage peer;
  socklen_t length = sizeof peer;
  if (!armed || getpeername(fd, (struct sockaddr *)&peer, &length)) return NULL;
  return peer.ss_family == AF_INET || peer.ss_family == AF_INET6 ? "server" : NULL;
}

static void at_path(int dir, const char *name, char *path, size_t size) {
  if (name[0] == '/' || dir == AT_FDCWD) snprintf(path, size, "%s", name);
  else if (file_of(dir, path, size)) snprintf(path + strlen(path), size - strlen(path), "/%s", name);
  else path[0] = 0;
}

/* The undo log */

static int is_volatile(const char *path) { return strstr(path, "-shm") != NULL; } /* SQLite makes it anew */

static struct undo *remember(int kind, struct stat *of) {
  struct undo *one = calloc(1, sizeof *one);
  one->kind = kind, one->device = of->st_dev, one->inode = of->st_ino, one->next = undone, undone = one;
  return one;
}

static void before_data(int fd, const char *path, off_t at, size_t length) {
  struct stat now;
  char link[64];
  int descriptor = -1;
  if (is_volatile(path) || fstat(fd, &now)) return;
  for (struct undo *one = undone; one && descriptor < 0; one = one->next)
    if (one->kind == DATA && one->inode == now.st_ino && one->device == now.st_dev) descriptor = one->descriptor;
  if (descriptor < 0) { /* never closed: closing it would drop SQLite's locks */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    descriptor = REAL(open)(link, O_RDWR | O_CLOEXEC);
  }
  struct undo *one = remember(DATA, &now);
  one->descriptor = descriptor, one->at = at, one->old_size = now.st_size;
  if (at < now.st_size) {
    one->length = length < (size_t)(now.st_size - at) ? length : (size_t)(now.st_size - at);
    one->old = malloc(one->length);
    if (pread(descriptor, one->old, one->length, at) < 0) one->length = 0;
  }
}

static void before_name(int kind, const char *path, const char *second) {
  char parent[1024], *slash;
  struct stat of;
  if (fault != POWER || is_volatile(path)) return;
  snprintf(parent, sizeof parent, "%s", second ? second : path);
  if ((slash = strrchr(parent, '/'))) *slash = 0;
  if (stat(parent, &of)) return;
  struct undo *one = remember(kind, &of);
  snprintf(one->path[0], sizeof one->path[0], "%s", path);
  snprintf(one->path[1], sizeof one->path[1], "%s", second ? second : "");
}

static void keep(const char *path) { /* what is about to be removed or replaced, until that is synced */
  char kept[1100];
  if (fault != POWER || access(path, F_OK)) return;
  snprintf(kept, sizeof kept, "%.1000s.kept-%d", folder, ++saved);
  if (!REAL(link)(path, kept)) before_name(REMOVED, kept, path);
}

static void take_back(struct undo *one) {
  switch (one->kind) {
    case DATA:
      if (one->length && REAL(pwrite)(one->descriptor, one->old, one->length, one->at) < 0) perror("crash_shim");
      if (REAL(ftruncate)(one->descriptor, one->old_size)) perror("crash_shim");
      break;
    case MADE:
      if (REAL(unlink)(one->path[0])) rmdir(one->path[0]);
      break;
    case RENAMED:
      REAL(rename)(one->path[1], one->path[0]);
      break;
    case REMOVED:
      REAL(link)(one->path[0], one->path[1]);
      break;
  }
}

/* Forget what a sync has made lasting, or, where it failed, what it has lost. */
static void settle(int fd, int lost) {
  struct stat of;
  if (fstat(fd, &of)) return;
  for (struct undo **at = &undone; *at;) {
    struct undo *one = *at;
    if (one->inode != of.st_ino || one->device != of.st_dev) {
      at = &one->next;
      continue;
    }
    if (lost) take_back(one);
    if (one->kind == REMOVED) REAL(unlink)(one->path[0]);
    if (one->kind == DATA && !lost) one->length = 0;
    *at = one->next; /* its descriptor stays open */
  }
}

static void die(void) {
  if (fault == POWER)
    for (struct undo *one = undone; one; one = one->next) take_back(one);
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* "call path", with a star for each run of 32 hexadecimal digits: names that are drawn anew in each life. */
static void describe(char *text, const char *call, const char *where) {
  const char *rest = inside(where) ? where + strlen(folder) + (where[strlen(folder)] == '/') : where;
  int length = snprintf(text, TEXT, "%s ", call);
  while (*rest && length < TEXT - 1) {
    int drawn = strspn(rest, "0123456789abcdef") == 32;
    text[length++] = drawn ? '*' : *rest;
    rest += drawn ? 32 : 1;
  }
  text[length] = 0;
}

/* A point. Returns what shall happen to the call. */
static enum fault point(const char *call, const char *where) {
  static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
  char text[TEXT];
  describe(text, call, where);
  pthread_mutex_lock(&counting);
  if (shared->count < MAX_POINTS) strcpy(shared->text[shared->count], text);
  shared->count++;
  int is_it = !strcmp(text, target) && --left == 0;
  pthread_mutex_unlock(&counting);
  if (!is_it) return CALM;
  shared->hit = 1;
  if (fault == KILL || fault == POWER) die();
  return fault;
}

static int failed(enum fault now) {
  switch (now) {
    case IO_ERROR: case TORN: errno = EIO; return 1;
    case NO_SPACE: errno = ENOSPC; return 1;
    default: return 0;
  }
}

#define LOCKED(type, body)              \
  pthread_mutex_lock(&mutex);           \
  type result = (type)-1;               \
  body;                                 \
  int kept_errno = errno;               \
  pthread_mutex_unlock(&mutex);         \
  errno = kept_errno;                   \
  return result;

/* Writes. `half` makes as much of the call as a torn one makes. */
#define WRITE(call, fd, at, size, whole, half)                            \
  char path[1024];                                                        \
  if (!file_of(fd, path, sizeof path)) return whole;                      \
  LOCKED(ssize_t, {                                                       \
    enum fault now = point(call, path);                                   \
    if (now != IO_ERROR && now != NO_SPACE) before_data(fd, path, at, size); \
    if (now == CALM) result = whole;                                      \
    else if (now != IO_ERROR && now != NO_SPACE) result = half;           \
    if (now == KILL_BEHIND) die();                                        \
    if (failed(now)) result = -1;                                         \
  })

static off_t place(int fd) {
  struct stat of;
  if (fcntl(fd, F_GETFL) & O_APPEND && !fstat(fd, &of)) return of.st_size;
  return lseek(fd, 0, SEEK_CUR);
}

static size_t total(const struct iovec *part, int count) {
  size_t size = 0;
  for (int i = 0; i < count; i++) size += part[i].iov_len;
  return size;
}

static struct iovec first_half(const struct iovec *part, int count) {
  size_t size = total(part, count) / 2, done = 0;
  char *flat = malloc(size + 1);
  for (int i = 0; i < count && done < size; i++) {
    size_t piece = part[i].iov_len < size - done ? part[i].iov_len : size - done;
    memcpy(flat + done, part[i].iov_base, piece), done += piece;
  }
  return (struct iovec){flat, size};
}

static size_t half_of(size_t size) { return size > 1 ? size / 2 : size; }

ssize_t write(int fd, const void *data, size_t size) {
  WRITE("write", fd, place(fd), size, REAL(write)(fd, data, size), REAL(write)(fd, data, half_of(size)))
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  WRITE("pwrite", fd, at, size, REAL(pwrite)(fd, data, size, at), REAL(pwrite)(fd, data, half_of(size), at))
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return pwrite(fd, data, size, at); }

ssize_t pwritev(int fd, const struct iovec *part, int count, off_t at) {
  struct iovec half;
  WRITE("pwritev", fd, at, total(part, count), REAL(pwritev)(fd, part, count, at),
        (half = first_half(part, count), REAL(pwrite)(fd, half.iov_base, half.iov_len, at)))
}

ssize_t pwritev64(int fd, const struct iovec *part, int count, off_t at) { return pwritev(fd, part, count, at); }

ssize_t sendfile(int out, int in, off_t *from, size_t size) {
  WRITE("sendfile", out, place(out), size, REAL(sendfile)(out, in, from, size),
        REAL(sendfile)(out, in, from, half_of(size)))
}

ssize_t sendfile64(int out, int in, off_t *from, size_t size) { return sendfile(out, in, from, size); }

int ftruncate(int fd, off_t size) {
  char path[1024];
  struct stat of;
  if (!file_of(fd, path, sizeof path) || fstat(fd, &of)) return REAL(ftruncate)(fd, size);
  LOCKED(int, {
    enum fault now = point("ftruncate", path);
    if (!failed(now)) {
      before_data(fd, path, size, of.st_size > size ? of.st_size - size : 0);
      result = REAL(ftruncate)(fd, size);
    }
    if (now == KILL_BEHIND) die();
  })
}

int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

static int synced(const char *call, int fd, int (*sync)(int)) {
  char path[1024];
  if (!file_of(fd, path, sizeof path)) return sync(fd);
  LOCKED(int, {
    enum fault now = point(call, path);
    if (failed(now)) {
      int why = errno;
      settle(fd, 1);
      errno = why;
    } else if (!(result = sync(fd)))
      settle(fd, 0);
    if (now == KILL_BEHIND) die();
  })
}

int fsync(int fd) { return synced("fsync", fd, REAL(fsync)); }
int fdatasync(int fd) { return synced("fdatasync", fd, REAL(fdatasync)); }

/* Names */
#define NAME(call, path, before, whole, behind) \
  if (!inside(path)) return whole;              \
  LOCKED(int, {                                 \
    enum fault now = point(call, path);         \
    if (!failed(now)) {                         \
      before;                                   \
      result = whole;                           \
      if (result >= 0) behind;                  \
    }                                           \
    if (now == KILL_BEHIND) die();              \
  })

int linkat(int from, const char *old, int to, const char *new, int flags) {
  char path[1024];
  at_path(to, new, path, sizeof path);
  NAME("link", path, (void)0, REAL(linkat)(from, old, to, new, flags), before_name(MADE, path, NULL))
}

int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int rename(const char *old, const char *new) {
  NAME("rename", new, keep(new), REAL(rename)(old, new), before_name(RENAMED, old, new))
}

int renameat(int from, const char *old, int to, const char *new) {
  char path[2][1024];
  at_path(from, old, path[0], sizeof path[0]), at_path(to, new, path[1], sizeof path[1]);
  return inside(path[1]) ? rename(path[0], path[1]) : REAL(renameat)(from, old, to, new);
}

int unlinkat(int dir, const char *name, int flags) {
  char path[1024];
  at_path(dir, name, path, sizeof path);
  if (access(path, F_OK)) return REAL(unlinkat)(dir, name, flags); /* nothing changes */
  NAME("unlink", path, keep(path), REAL(unlinkat)(dir, name, flags), (void)0)
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int mkdir(const char *name, mode_t mode) {
  if (!access(name, F_OK)) return REAL(mkdir)(name, mode); /* nothing changes */
  NAME("mkdir", name, (void)0, REAL(mkdir)(name, mode), before_name(MADE, name, NULL))
}

int openat(int dir, const char *name, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
  va_end(more);
  char path[1024];
  at_path(dir, name, path, sizeof path);
  if (!(flags & O_CREAT) || !access(path, F_OK)) return REAL(openat)(dir, name, flags, mode);
  NAME("create", path, (void)0, REAL(openat)(dir, name, flags, mode), before_name(MADE, path, NULL))
}

#define FORWARD(name, dir)                                              \
  va_list more;                                                         \
  va_start(more, flags);                                                \
  mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
  va_end(more);                                                         \
  return openat(dir, name, flags, mode)

int open(const char *name, int flags, ...) { FORWARD(name, AT_FDCWD); }
int open64(const char *name, int flags, ...) { FORWARD(name, AT_FDCWD); }
int openat64(int dir, const char *name, int flags, ...) { FORWARD(name, dir); }

/* Servers: the body of a PUT on its way, and the answer. */
static ssize_t broken(int fd, enum fault now) {
  shutdown(fd, SHUT_RDWR);
  errno = now == TIMEOUT ? ETIMEDOUT : ECONNRESET;
  return -1;
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
  enum fault now = server_of(fd) ? point("send", "server") : CALM;
  ssize_t sent = REAL(send)(fd, data, now == CALM ? size : half_of(size), flags);
  if (now == KILL_BEHIND) die();
  return now == RESET || now == TIMEOUT ? broken(fd, now) : sent;
}

ssize_t recv(int fd, void *data, size_t size, int flags) {
  enum fault now = server_of(fd) ? point("recv", "server") : CALM;
  if (now == KILL_BEHIND) {
    char byte;
    REAL(recv)(fd, &byte, 1, MSG_PEEK); /* the server has answered */
    die();
  }
  return now == RESET || now == TIMEOUT ? broken(fd, now) : REAL(recv)(fd, data, size, flags);
}
