/* Simulates exhaustion of threads for tests: preloaded, it makes thread creation fail while the file NOTHREADS
 * exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *with) {
    const char *file = getenv("NOTHREADS");
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    if (file && access(file, F_OK) == 0) return EAGAIN;
    return real(thread, how, run, with);
}
