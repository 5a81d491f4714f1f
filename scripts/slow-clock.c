/* Lets time pass at a hundredth of its speed for Envoy's workers, which is about as slow as they are under callgrind. What they do by the clock
 * then is as much of a request as it is without callgrind, and nearly the same on a machine that is slow or busy.
 *
 * Only for workers: other threads wait until times of the real clock. libfaketime cannot be preloaded here: it calls malloc before tcmalloc, which asks for the time, is ready.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SLOWER = 100, SECOND = 1000000000 };

static __thread enum { UNKNOWN, WORKER, OTHER } kind;
static __thread struct timespec since[2];

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && kind == WORKER && (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC)) {
        struct timespec *start = &since[clock == CLOCK_MONOTONIC];
        long long passed = ((now->tv_sec - start->tv_sec) * (long long)SECOND + now->tv_nsec - start->tv_nsec) / SLOWER + start->tv_nsec;
        now->tv_sec = start->tv_sec + passed / SECOND;
        now->tv_nsec = passed % SECOND;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    (void)zone;
    return result;
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int milliseconds) {
    if (kind == UNKNOWN) {
        char name[16] = "";
        prctl(PR_GET_NAME, name);
        clock_gettime(CLOCK_REALTIME, &since[0]);
        clock_gettime(CLOCK_MONOTONIC, &since[1]);
        kind = strncmp(name, "wrk:", 4) == 0 ? WORKER : OTHER;
    }
    if (kind == WORKER && milliseconds > 0)
        milliseconds = milliseconds < 1 << 24 ? milliseconds * SLOWER : 1 << 30;
    return syscall(SYS_epoll_pwait, epoll, events, most, milliseconds, 0, 0);
}
