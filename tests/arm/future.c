/* Advances the wall clock by fourteen years: preloaded into a 32-bit program to test times beyond 2038. */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

struct time64 {
    int64_t seconds;
    int64_t nanoseconds;
};

#define WALL_CLOCK 0
#define YEARS 14
#define SECONDS_OF_A_YEAR 31557600LL

int __clock_gettime64(int clock, struct time64 *at)
{
    int done = syscall(SYS_clock_gettime64, clock, at);
    if (done == 0 && clock == WALL_CLOCK)
        at->seconds += YEARS * SECONDS_OF_A_YEAR;
    return done;
}
