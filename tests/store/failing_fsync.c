/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a process, lets fsync and fdatasync fail with EIO once the file that FSYNC_FAILS names exists. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(void)
{
	const char *sign = getenv("FSYNC_FAILS");
	return sign != NULL && access(sign, F_OK) == 0;
}

static int sync_or_fail(long number, int fd)
{
	if (!fails())
		return (int)syscall(number, fd);
	errno = EIO;
	return -1;
}

int fsync(int fd)
{
	return sync_or_fail(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return sync_or_fail(SYS_fdatasync, fd);
}
