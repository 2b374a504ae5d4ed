/* The time of day as a test wants it: moved by the seconds that a file holds, read anew on every call. All other
   clocks are left alone, unless TEST_CLOCK_ALL says that the one by which waits are measured goes along. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    int moved = clock == CLOCK_REALTIME || (clock == CLOCK_MONOTONIC && getenv("TEST_CLOCK_ALL") != NULL);
    const char *path = result == 0 && moved ? getenv("TEST_CLOCK") : NULL;
    if (path == NULL) return result;
    char text[32] = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return result;
    if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atol(text);
    close(file);
    return result;
}
