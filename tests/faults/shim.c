/* Preloaded into a real process: makes the n-th file operation under one directory fail, lie, wait or be the last, and,
 * when volatile, keeps beside the directory what a power cut would leave of it. tests/faults/shim.py is its other half.
 *
 * SHIM_DATA     the directory; DATA/sql, where nothing lasts, is left alone
 * SHIM_CONTROL  a file with `struct control`, shared with the test and with every process of the daemon
 * SHIM_IMAGE    a directory on the same file system, used when volatile
 *
 * It also moves the wall clock, by control->clock_ahead_s.
 *
 * Volatile: DATA is what processes see, as through the page cache; the image is the disk under it, and changes only when
 * something is synced. Syncing a file puts its bytes there as `f<inode>`; syncing a directory its entries as `d<inode>`,
 * lines of "type inode name". So what was not synced is lost, file by file and name by name, whoever wrote it, and all
 * processes see the same files at all times. After a failed sync what it was to save is lost for good, while later syncs
 * succeed and the cache shows it still, until it is told to forget; but every descriptor that was open then is told once,
 * by a failure of its own next sync: as on Linux (errseq_t). */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum kind { WRITE, SYNC, SYNC_DIR, RENAME, OPEN, CREATE, UNLINK, MKDIR, KINDS };
enum role { DAEMON, COMPACTOR, OTHER, ROLES };
enum fault { NONE, FAIL, SHORT, LIE, DELAY, KILL, KILL_AFTER };

/* The same in shim.py. Nothing but 32-bit numbers and texts of as many bytes, so that there is no padding to agree on. */
struct rule {
    uint32_t fault, kinds, roles, at, onwards, error, delay_ms, whole_group;
    uint32_t seen, hits;
    /* Part of the path, with a $ at its end, of the files that it is for. */
    char scope[64];
};
struct control {
    uint32_t is_volatile, is_dead;
    int32_t clock_ahead_s;
    uint32_t calls[ROLES][KINDS];
    struct rule rules[64];
};

static struct control *control;
static enum role role;
static const char *data, *image;

static void give_up(const char *what) {
    dprintf(2, "shim: %s: %s\n", what, strerror(errno));
    _exit(97);
}

__attribute__((constructor)) static void start(void) {
    char command[4096] = "";
    const char *path = getenv("SHIM_CONTROL");
    data = getenv("SHIM_DATA");
    image = getenv("SHIM_IMAGE");
    if (!path || !data || !image) give_up("SHIM_CONTROL, SHIM_DATA and SHIM_IMAGE must be set");
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) give_up(path);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) give_up(path);
    close(fd);
    fd = REAL(open)("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, command, sizeof command - 1);
    close(fd);
    for (ssize_t i = 0; i < length; i++)
        if (!command[i]) command[i] = ' ';
    role = strstr(command, " daemon.compaction_worker") ? COMPACTOR : strstr(command, " -m daemon ") ? DAEMON : OTHER;
}

/* --- which files --- */

static int is_under(const char *path) {
    size_t n = strlen(data);
    return control && !strncmp(path, data, n) && (!path[n] || path[n] == '/') && strncmp(path + n, "/sql", 4) != 0;
}

/* Whether an open file is; gives back its path. */
static int is_open_under(int fd, char path[PATH_MAX]) {
    char link[64];
    int error = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    errno = error;
    if (n < 0) return 0;
    path[n] = 0;
    return is_under(path);
}

static int is_in_scope(const struct rule *rule, const char *path) {
    char marked[PATH_MAX + 1];
    snprintf(marked, sizeof marked, "%s$", path);
    return strstr(marked, rule->scope) != NULL;
}

/* --- faults --- */

static void die(const struct rule *rule) {
    if (rule->whole_group) {
        /* First of all, so that no other process can make anything durable, or say so, after this moment. */
        __atomic_store_n(&control->is_dead, 1, __ATOMIC_SEQ_CST);
        kill(0, SIGKILL);
    }
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void stay_dead(void) {
    while (__atomic_load_n(&control->is_dead, __ATOMIC_SEQ_CST)) pause();
}

/* What to do about a call, and by which rule; errno is set for FAIL. Does not return when this call is the last. */
static enum fault meet(enum kind kind, const char *path, const struct rule **by) {
    enum fault found = NONE;
    int error = errno;
    stay_dead();
    __atomic_add_fetch(&control->calls[role][kind], 1, __ATOMIC_SEQ_CST);
    for (size_t i = 0; i < sizeof control->rules / sizeof *control->rules; i++) {
        struct rule *rule = &control->rules[i];
        enum fault fault = __atomic_load_n(&rule->fault, __ATOMIC_SEQ_CST);
        if (fault == NONE || !(rule->kinds & 1u << kind) || !(rule->roles & 1u << role)) continue;
        if (!is_in_scope(rule, path)) continue;
        uint32_t n = __atomic_add_fetch(&rule->seen, 1, __ATOMIC_SEQ_CST);
        if (found != NONE || (rule->onwards ? n < rule->at : n != rule->at)) continue;
        __atomic_add_fetch(&rule->hits, 1, __ATOMIC_SEQ_CST);
        if (fault == KILL) die(rule);
        if (fault == DELAY) usleep(rule->delay_ms * 1000);
        if (fault == FAIL) error = (int)rule->error;
        found = fault;
        *by = rule;
    }
    errno = error;
    return found;
}

static long after(enum fault fault, const struct rule *rule, long result) {
    if (fault == KILL_AFTER) die(rule);
    return result;
}

/* --- the image: what a power cut leaves --- */

static void image_path(char *path, char kind, ino_t inode) {
    snprintf(path, PATH_MAX, "%s/%c%lu", image, kind, (unsigned long)inode);
}

/* One sync at a time in all processes, or an older copy could replace a newer; the kernel unlocks for the killed. */
static int lock_image(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/lock", image);
    int fd = REAL(open)(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX)) give_up("the image's lock");
    stay_dead();
    return fd;
}

static char *load(const char *path, size_t *size) {
    struct stat st;
    int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    *size = 0;
    if (fd < 0) return NULL;
    if (fstat(fd, &st)) give_up(path);
    char *bytes = malloc((size_t)st.st_size + 1);
    while (*size < (size_t)st.st_size) {
        ssize_t n = pread(fd, bytes + *size, (size_t)st.st_size - *size, (off_t)*size);
        if (n <= 0) break;
        *size += (size_t)n;
    }
    close(fd);
    return bytes;
}

/* Whole or not at all, because the process may be killed here. */
static void save(const char *path, mode_t mode, const char *bytes, size_t size) {
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.new", path) >= PATH_MAX) give_up(path);
    int fd = REAL(open)(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) give_up(temporary);
    for (size_t done = 0; done < size;) {
        ssize_t n = REAL(pwrite)(fd, bytes + done, size - done, (off_t)done);
        if (n <= 0) give_up(temporary);
        done += (size_t)n;
    }
    if (fchmod(fd, mode & 07777) || close(fd) || REAL(rename)(temporary, path)) give_up(path);
}

/* An open file's bytes as a sync would leave them on the disk. */
static char *on_disk(int fd, ino_t inode, size_t *size) {
    char path[PATH_MAX], link[64];
    size_t lost_size, old_size;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    char *bytes = load(link, size);
    if (!bytes) give_up(link);
    image_path(path, 'x', inode);
    char *lost = load(path, &lost_size);
    image_path(path, 'f', inode);
    if (lost) {
        /* What a failed sync lost is clean for the kernel: no sync writes it. */
        char *old = load(path, &old_size);
        for (size_t i = 0; i < *size && i < lost_size; i++)
            if (bytes[i] == lost[i]) bytes[i] = old && i < old_size ? old[i] : 0;
        free(old);
        free(lost);
    }
    return bytes;
}

static void keep_file(int fd, const struct stat *st) {
    char path[PATH_MAX];
    size_t size;
    char *bytes = on_disk(fd, st->st_ino, &size);
    image_path(path, 'f', st->st_ino);
    save(path, st->st_mode, bytes, size);
    free(bytes);
}

static void keep_directory(int fd, const struct stat *directory) {
    char path[PATH_MAX], *text = NULL;
    size_t size;
    FILE *lines = open_memstream(&text, &size);
    DIR *entries = fdopendir(REAL(openat)(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lines || !entries) give_up("listing a directory");
    for (struct dirent *entry; (entry = readdir(entries));) {
        struct stat st;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
        fprintf(lines, "%c %lu %s\n", S_ISDIR(st.st_mode) ? 'd' : 'f', (unsigned long)st.st_ino, entry->d_name);
    }
    closedir(entries);
    fclose(lines);
    image_path(path, 'd', directory->st_ino);
    save(path, 0600, text, size);
    free(text);
}

/* Two directories between which names were swapped: a journal has that in one transaction, so that who makes the one of
 * them durable makes the other so too. Each has the paths of its partners in `s<inode>`, a line each. */
static void note_partner(const char *of, const char *partner) {
    char path[PATH_MAX];
    struct stat st;
    size_t size;
    if (stat(of, &st)) give_up(of);
    image_path(path, 's', st.st_ino);
    char *known = load(path, &size), *lines = NULL;
    int n = asprintf(&lines, "%.*s%s\n", (int)size, known ? known : "", partner);
    if (n < 0) give_up(path);
    save(path, 0600, lines, (size_t)n);
    free(lines);
    free(known);
}

static void note_swap(const char *one, const char *other) {
    char parent[PATH_MAX], other_parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(one, '/') - one), one);
    snprintf(other_parent, sizeof other_parent, "%.*s", (int)(strrchr(other, '/') - other), other);
    note_partner(parent, other_parent);
    note_partner(other_parent, parent);
}

static void keep_with_partners(int fd, const struct stat *directory) {
    char path[PATH_MAX], *rest = NULL;
    size_t size;
    keep_directory(fd, directory);
    image_path(path, 's', directory->st_ino);
    char *partners = load(path, &size);
    if (!partners) return;
    partners[size] = 0;
    for (char *one = strtok_r(partners, "\n", &rest); one; one = strtok_r(NULL, "\n", &rest)) {
        struct stat st;
        int partner = REAL(open)(one, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        /* It may have been removed since. */
        if (partner < 0) continue;
        if (fstat(partner, &st)) give_up(one);
        keep_directory(partner, &st);
        close(partner);
    }
    free(partners);
    REAL(unlink)(path);
}

/* Called for a sync that fails: the file's bytes as they are now will never be written by a later one. */
static void lose(int fd, const struct stat *st) {
    char path[PATH_MAX], link[64];
    size_t size;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    char *bytes = load(link, &size);
    if (!bytes) give_up(link);
    image_path(path, 'x', st->st_ino);
    save(path, 0600, bytes, size);
    free(bytes);
}

static unsigned failures(ino_t inode) {
    char path[PATH_MAX];
    size_t size;
    image_path(path, 'e', inode);
    char *text = load(path, &size);
    free(text);
    return (unsigned)size;
}

/* Of a file's failed syncs, how many a descriptor's owner knows of; one that is opened later has nothing to learn. */
static unsigned known[1 << 16];

static bool learns_of_failure(int fd, ino_t inode) {
    unsigned now = failures(inode);
    if ((size_t)fd >= sizeof known / sizeof *known) give_up("more descriptors than expected");
    bool is_news = now > known[fd];
    known[fd] = now;
    return is_news;
}

static void note_failure(int fd, ino_t inode) {
    char path[PATH_MAX], many[256] = {0};
    unsigned count = failures(inode) + 1;
    if (count > sizeof many) give_up("more failed syncs of a file than expected");
    image_path(path, 'e', inode);
    save(path, 0600, many, count);
    known[fd] = count;
}

/* The cache is told to forget a file with lost bytes: now it shows what the disk has. */
static void forget(int fd) {
    char path[PATH_MAX], link[64];
    size_t size;
    struct stat st;
    if (fstat(fd, &st)) return;
    image_path(path, 'x', st.st_ino);
    if (access(path, F_OK)) return;
    int lock = lock_image();
    char *bytes = on_disk(fd, st.st_ino, &size);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int out = REAL(open)(link, O_WRONLY | O_CLOEXEC);
    if (out < 0 || REAL(pwrite)(out, bytes, size, 0) != (ssize_t)size) give_up("forgetting");
    close(out);
    free(bytes);
    close(lock);
}

/* A removed file keeps its inode, which the image may still have under its old name. */
static void pin(const char *path) {
    char pinned[PATH_MAX];
    struct stat st;
    if (lstat(path, &st)) return;
    if (S_ISDIR(st.st_mode)) {
        image_path(pinned, 'd', st.st_ino);
        REAL(unlink)(pinned);
        return;
    }
    image_path(pinned, 'p', st.st_ino);
    if (link(path, pinned) && errno != EEXIST) give_up(pinned);
}

/* --- the calls --- */

static int sync_by(int fd, int (*sync)(int)) {
    char path[PATH_MAX];
    struct stat st;
    const struct rule *by = NULL;
    if (!is_open_under(fd, path) || fstat(fd, &st)) return sync(fd);
    enum fault fault = meet(S_ISDIR(st.st_mode) ? SYNC_DIR : SYNC, path, &by);
    int error = errno, result = 0;
    if (fault == LIE) return 0;
    if (!control->is_volatile) {
        if (fault != FAIL) result = sync(fd);
    } else {
        int lock = lock_image();
        if (fault != FAIL && S_ISREG(st.st_mode) && learns_of_failure(fd, st.st_ino)) {
            fault = FAIL;
            error = EIO;
        } else if (fault == FAIL && S_ISREG(st.st_mode)) {
            note_failure(fd, st.st_ino);
        }
        if (fault != FAIL) (S_ISDIR(st.st_mode) ? keep_with_partners : keep_file)(fd, &st);
        else if (!S_ISDIR(st.st_mode)) lose(fd, &st);
        close(lock);
        stay_dead();
    }
    if (fault == FAIL) {
        errno = error;
        return -1;
    }
    return (int)after(fault, by, result);
}

int fsync(int fd) { return sync_by(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_by(fd, REAL(fdatasync)); }

int posix_fadvise(int fd, off_t offset, off_t length, int advice) {
    char path[PATH_MAX];
    if (advice == POSIX_FADV_DONTNEED && is_open_under(fd, path) && control->is_volatile) forget(fd);
    return REAL(posix_fadvise)(fd, offset, length, advice);
}
int posix_fadvise64(int fd, off64_t offset, off64_t length, int advice) { return posix_fadvise(fd, offset, length, advice); }

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    char path[PATH_MAX];
    const struct rule *by = NULL;
    if (!is_open_under(fd, path)) return REAL(pwrite)(fd, bytes, size, offset);
    enum fault fault = meet(WRITE, path, &by);
    if (fault == FAIL) return -1;
    if (fault == LIE) return (ssize_t)size;
    /* Where the page cache has no part in it, whole sectors are written. */
    if (fault == SHORT) size = fcntl(fd, F_GETFL) & O_DIRECT ? size / 2 / 512 * 512 : (size + 1) / 2;
    return after(fault, by, REAL(pwrite)(fd, bytes, size, offset));
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) { return pwrite(fd, bytes, size, offset); }

ssize_t write(int fd, const void *bytes, size_t size) {
    char path[PATH_MAX];
    const struct rule *by = NULL;
    if (!is_open_under(fd, path)) return REAL(write)(fd, bytes, size);
    enum fault fault = meet(WRITE, path, &by);
    if (fault == FAIL) return -1;
    if (fault == LIE) return (ssize_t)size;
    if (fault == SHORT) size = (size + 1) / 2;
    return after(fault, by, REAL(write)(fd, bytes, size));
}

int rename(const char *from, const char *to) {
    if (!is_under(to)) return REAL(rename)(from, to);
    const struct rule *by = NULL;
    enum fault fault = meet(RENAME, to, &by);
    if (fault == FAIL) return -1;
    if (fault == LIE) return 0;
    if (control->is_volatile) pin(to);
    return (int)after(fault, by, REAL(rename)(from, to));
}

/* Of absolute paths, as all of ours are. */
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    if (!is_under(to)) return REAL(renameat2)(from_at, from, to_at, to, flags);
    const struct rule *by = NULL;
    enum fault fault = meet(RENAME, to, &by);
    if (fault == FAIL) return -1;
    if (fault == LIE) return 0;
    if (!control->is_volatile) return (int)after(fault, by, REAL(renameat2)(from_at, from, to_at, to, flags));
    if (!(flags & RENAME_EXCHANGE)) pin(to);
    /* No sync of either directory may come between the swap and its note. */
    int lock = lock_image(), result = REAL(renameat2)(from_at, from, to_at, to, flags), error = errno;
    if (!result && flags & RENAME_EXCHANGE) note_swap(from, to);
    close(lock);
    errno = error;
    return (int)after(fault, by, result);
}

static int remove_by(const char *path, int (*call)(const char *)) {
    if (!is_under(path)) return call(path);
    const struct rule *by = NULL;
    enum fault fault = meet(UNLINK, path, &by);
    if (fault == FAIL) return -1;
    if (fault == LIE) return 0;
    if (control->is_volatile) pin(path);
    return (int)after(fault, by, call(path));
}
int unlink(const char *path) { return remove_by(path, REAL(unlink)); }
int rmdir(const char *path) { return remove_by(path, REAL(rmdir)); }

int mkdir(const char *path, mode_t mode) {
    if (!is_under(path)) return REAL(mkdir)(path, mode);
    const struct rule *by = NULL;
    enum fault fault = meet(MKDIR, path, &by);
    if (fault == FAIL) return -1;
    return (int)after(fault, by, REAL(mkdir)(path, mode));
}

static int open_by(int (*call)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    if (!is_under(path)) return call(path, flags, mode);
    const struct rule *by = NULL;
    enum fault fault = meet(flags & O_CREAT ? CREATE : OPEN, path, &by);
    if (fault == FAIL) return -1;
    int fd = call(path, flags, mode);
    struct stat st;
    if (fd >= 0 && control->is_volatile && !fstat(fd, &st)) learns_of_failure(fd, st.st_ino);
    return (int)after(fault, by, fd);
}

#define OPENS(name)                                                     \
    int name(const char *path, int flags, ...) {                        \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        mode_t mode = __OPEN_NEEDS_MODE(flags) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                   \
        return open_by(REAL(name), path, flags, mode);                  \
    }
OPENS(open)
OPENS(open64)

DIR *opendir(const char *path) {
    if (!is_under(path)) return REAL(opendir)(path);
    const struct rule *by = NULL;
    enum fault fault = meet(OPEN, path, &by);
    if (fault == FAIL) return NULL;
    DIR *opened = REAL(opendir)(path);
    if (fault == KILL_AFTER) die(by);
    return opened;
}

/* --- the wall clock, and no other: what waits and what times out goes by the monotonic one --- */

static time_t clock_ahead(void) { return control ? (time_t)__atomic_load_n(&control->clock_ahead_s, __ATOMIC_SEQ_CST) : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    static __typeof__(&clock_gettime) real;
    if (!real) real = REAL(clock_gettime);
    int result = real(clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += clock_ahead();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = REAL(gettimeofday)(now, zone);
    if (!result) now->tv_sec += clock_ahead();
    return result;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
