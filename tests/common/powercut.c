/* Simulates power cuts for tests: preloaded, it keeps in the directory POWERCUT_SHADOW the last synced contents of every
 * file below POWERCUT_DIR, and the last synced entries of every directory. While the file POWERCUT_DIR/fault exists,
 * writes to recordings fail with the error number in it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int path_of(int fd, char *out, size_t n) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, out, n - 1);
    const char *dir = getenv("POWERCUT_DIR");
    if (len < 0 || !dir) return 0;
    out[len] = 0;
    return strncmp(out, dir, strlen(dir)) == 0;
}

static void copy(const char *from, const char *to) {
    char part[4200], piece[65536];
    snprintf(part, sizeof part, "%s.part", to);
    int in = open(from, O_RDONLY), out = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n;
    ssize_t (*put)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    while (in >= 0 && out >= 0 && (n = read(in, piece, sizeof piece)) > 0)
        if (put(out, piece, n) != n) break;
    close(in);
    close(out);
    rename(part, to);
}

/* The contents of a file are stored under its inode number. */
static void keep(int fd) {
    char path[4096], to[4096];
    struct stat st;
    const char *shadow = getenv("POWERCUT_SHADOW");
    if (!shadow || !path_of(fd, path, sizeof path) || fstat(fd, &st)) return;
    if (S_ISREG(st.st_mode)) {
        snprintf(to, sizeof to, "%s/%lu", shadow, (unsigned long)st.st_ino);
        copy(path, to);
        return;
    }
    if (!S_ISDIR(st.st_mode)) return;
    snprintf(to, sizeof to, "%s/names-%lu", shadow, (unsigned long)st.st_ino);
    char part[4200];
    snprintf(part, sizeof part, "%s.part", to);
    FILE *list = fopen(part, "w");
    DIR *d = opendir(path);
    struct dirent *e;
    while (list && d && (e = readdir(d)))
        if (e->d_type == DT_REG) fprintf(list, "%lu %s/%s\n", (unsigned long)e->d_ino, path, e->d_name);
    if (d) closedir(d);
    if (list) fclose(list);
    rename(part, to);
}

int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    int done = real(fd);
    if (!done) keep(fd);
    return done;
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    int done = real(fd);
    if (!done) keep(fd);
    return done;
}

static void keep_all(const char *dir) {
    DIR *d = opendir(dir);
    struct dirent *e;
    int self = open(dir, O_RDONLY);
    if (self >= 0) {
        keep(self);
        close(self);
    }
    while (d && (e = readdir(d))) {
        char path[4200];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_type == DT_DIR) keep_all(path);
        if (e->d_type != DT_REG) continue;
        int fd = open(path, O_RDONLY);
        if (fd >= 0) {
            keep(fd);
            close(fd);
        }
    }
    if (d) closedir(d);
}

/* Syncs everything on the disk. */
int syncfs(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "syncfs");
    int done = real(fd);
    const char *dir = getenv("POWERCUT_DIR");
    if (!done && dir) keep_all(dir);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    char path[4096], fault[4096], code[16] = {0};
    const char *dir = getenv("POWERCUT_DIR");
    if (dir && fd > 2 && path_of(fd, path, sizeof path) && strstr(path, ".wav")) {
        snprintf(fault, sizeof fault, "%s/fault", dir);
        int f = open(fault, O_RDONLY);
        if (f >= 0) {
            ssize_t got = read(f, code, sizeof code - 1);
            close(f);
            if (got > 0) {
                errno = atoi(code);
                return -1;
            }
        }
    }
    return real(fd, bytes, n);
}
