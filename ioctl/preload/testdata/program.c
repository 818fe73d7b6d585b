/* SPDX-License-Identifier: Apache-2.0
 *
 * A handler program that makes calls on a plain file called scst_user: all of
 * them fail, and what matters is what was recorded of them. What to do is its
 * second argument.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int fd;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void want_enotty(int ret, const char *what)
{
	if (ret != -1 || errno != ENOTTY)
		die(what);
}

static void put64(unsigned char *b, const void *p)
{
	uint64_t v = (uintptr_t)p;
	memcpy(b, &v, 8);
}

static void reg(void)
{
	unsigned char desc[160] = { 0 };

	put64(desc, "3.11.0-pre");
	put64(desc + 8, "GPL");
	strcpy((char *)desc + 53, "disk1");
	want_enotty(ioctl(fd, 0x40A07501, desc), "REGISTER");
}

/* An EXEC reply with sense. */
static void multi(unsigned handle)
{
	static const unsigned char sense[18] = { 0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20 };
	unsigned char reply[56] = { 0 }, arg[16 + 2 * 544] = { 0 };
	uint32_t sub = 0xC0687303;

	memcpy(reply, &handle, 4);
	memcpy(reply + 4, &sub, 4);
	reply[8 + 16] = 1;
	reply[8 + 17] = 2;
	reply[8 + 24] = sizeof(sense);
	put64(reply + 8 + 32, sense);
	put64(arg, reply);
	arg[8] = 1;
	arg[12] = 2;
	want_enotty(ioctl(fd, 0xC010750B, arg), "MULTI");
}

static void *thread(void *n)
{
	for (int i = 0; i < 200; i++)
		multi((unsigned)(uintptr_t)n * 1000 + i);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[2] : "";
	struct pollfd p;
	int d;

	fd = open(argv[1], O_RDWR | O_NONBLOCK);
	if (fd < 0)
		die(argv[1]);
	if (strcmp(what, "bad") == 0) { /* pointers to nowhere */
		unsigned char arg[16] = { 0 };
		put64(arg, (void *)8);
		arg[8] = 100;
		want_enotty(ioctl(fd, 0xC010750B, arg), "bad preplies");
		want_enotty(ioctl(fd, 0xC010750B, (void *)8), "bad argument");
		want_enotty(ioctl(fd, 0x40A07501, NULL), "no argument");
		return 0;
	}
	if (strcmp(what, "threads") == 0) {
		pthread_t t[4];
		for (uintptr_t i = 0; i < 4; i++)
			pthread_create(&t[i], NULL, thread, (void *)i);
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
		return 0;
	}
	if (strcmp(what, "fork") == 0) {
		pid_t child = fork();
		multi(child ? 1 : 2);
		if (child)
			waitpid(child, NULL, 0);
		return 0;
	}
	if (strcmp(what, "kill") == 0) {
		multi(7);
		kill(getpid(), SIGKILL);
	}
	if (strcmp(what, "daemon") == 0) { /* closes everything that it does not know */
		for (int i = 3; i < 2000; i++)
			if (i != fd)
				close(i);
		multi(9);
		return 0;
	}
	reg();
	multi(5);
	d = dup(fd);
	want_enotty(ioctl(d, 0x7507), "FLUSH_CACHE");
	p.fd = fd;
	p.events = POLLIN;
	if (poll(&p, 1, 0) < 0)
		die("poll");
	close(fd);
	want_enotty(ioctl(d, 0x7508), "CAPACITY_CHANGED");
	close(d);
	return strcmp(what, "fail") == 0 ? 3 : 0;
}
