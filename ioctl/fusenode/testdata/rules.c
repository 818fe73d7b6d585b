/* Runs rules of the scst_user interface against a mounted node, as a handler
 * program meets it: "rules MOUNT TEST". Exit status 0 and no output is success.
 * mount_test.go compiles and runs it, once per name in tests[].
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "scst_user_abi.h"

#define PAGE 4096
#define DISK (1 << 20)
#define ADDR(p) ((uint64_t)(uintptr_t)(p))

static const char *mnt;
static char disk[DISK];

#define CHECK(cond, ...) do { if (!(cond)) { \
	fprintf(stderr, "line %d: %s: ", __LINE__, #cond); \
	fprintf(stderr, __VA_ARGS__); fprintf(stderr, " (errno %d %s)\n", errno, strerror(errno)); exit(1); } } while (0)

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void nap(int ms) { usleep(ms * 1000); }

static char *path(const char *fmt, const char *name)
{
	static __thread char b[600];
	char rel[300];
	snprintf(rel, sizeof(rel), fmt, name);
	snprintf(b, sizeof(b), "%s/%s", mnt, rel);
	return b;
}

static int node(int flags)
{
	int fd = open(path("scst_user%s", ""), O_RDWR | flags);
	CHECK(fd >= 0, "open the node");
	return fd;
}

static int lun(const char *name)
{
	int fd = open(path("devices/%s/lun", name), O_RDWR);
	return fd;
}

static void describe(struct scst_user_dev_desc *d, const char *name)
{
	memset(d, 0, sizeof(*d));
	d->version_str = ADDR(DEV_USER_VERSION);
	d->license_str = ADDR("GPL");
	d->block_size = 512;
	d->opt.on_free_cmd_type = SCST_USER_ON_FREE_CMD_IGNORE;
	d->opt.memory_reuse_type = SCST_USER_MEM_REUSE_ALL;
	d->opt.tst = d->opt.queue_alg = 1;
	strcpy(d->name, name);
}

static int reg(int fd, const char *name)
{
	struct scst_user_dev_desc d;
	describe(&d, name);
	return ioctl(fd, SCST_USER_REGISTER_DEVICE, &d);
}

/* fails checks that a call fails with this errno. */
#define FAILS(call, want) do { errno = 0; int r_ = (call); \
	CHECK(r_ == -1 && errno == (want), "returned %d, want errno %d", r_, want); } while (0)

static uint64_t be(const uint8_t *p, int n)
{
	uint64_t v = 0;
	while (n--)
		v = v << 8 | *p++;
	return v;
}

static void *pages(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED, "mmap");
	return p;
}

static const uint8_t bad_op[18] = { 0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0 };

static void exec(const struct scst_user_scsi_cmd_exec *e, struct scst_user_scsi_cmd_reply_exec *r)
{
	uint64_t at = be(e->cdb + 2, 8) * 512;
	uint8_t *b = (uint8_t *)(uintptr_t)e->pbuf;
	r->reply_type = SCST_EXEC_REPLY_COMPLETED;
	if (!b && e->alloc_len)
		r->pbuf = ADDR(b = pages(e->alloc_len));
	switch (e->cdb[0]) {
	case 0x00: case 0x91:
		return;
	case 0x9e:
		memset(b, 0, 32);
		b[6] = (DISK / 512 - 1) >> 8, b[7] = (DISK / 512 - 1) & 255, b[10] = 2;
		r->resp_data_len = e->bufflen < 32 ? e->bufflen : 32;
		return;
	case 0x88:
		if (at + e->bufflen <= DISK) {
			memcpy(b, disk + at, e->bufflen);
			r->resp_data_len = e->bufflen;
			return;
		}
		break;
	case 0x8a:
		if (at + e->bufflen <= DISK) {
			memcpy(disk + at, b, e->bufflen);
			return;
		}
		break;
	}
	r->status = 2;
	r->sense_len = sizeof(bad_op);
	r->psense_buffer = ADDR(bad_op);
}

/* answer makes the reply to a subcommand. */
static void answer(const struct scst_user_get_cmd *c, struct scst_user_reply_cmd *r)
{
	memset(r, 0, sizeof(*r));
	r->cmd_h = c->cmd_h;
	r->subcode = c->subcode;
	if (c->subcode == SCST_USER_EXEC)
		exec(&c->exec_cmd, &r->exec_reply);
	else if (c->subcode == SCST_USER_ALLOC_MEM)
		r->alloc_reply.pbuf = ADDR(pages(c->alloc_cmd.alloc_len));
}

/* serve is a handler's loop; it ends when the node says so. */
static void *serve(void *arg)
{
	int fd = (int)(long)arg;
	struct scst_user_reply_cmd r;
	struct scst_user_get_cmd c;
	uint64_t preply = 0;
	for (;;) {
		memset(&c, 0, sizeof(c));
		c.preply = preply;
		preply = 0;
		if (ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, &c)) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return NULL;
		}
		answer(&c, &r);
		preply = ADDR(&r);
	}
}

static pthread_t spawn(void *(*f)(void *), long arg)
{
	pthread_t t;
	CHECK(!pthread_create(&t, NULL, f, (void *)arg), "thread");
	return t;
}

/* handler forks a process that serves name with n threads. */
static pid_t handler(const char *name, int n)
{
	int up[2];
	char c;
	CHECK(!pipe(up), "pipe");
	pid_t pid = fork();
	if (!pid) {
		int fd = node(0);
		if (reg(fd, name))
			_exit(2);
		(void)!write(up[1], "x", 1);
		while (--n > 0)
			spawn(serve, fd);
		serve((void *)(long)fd);
		_exit(3);
	}
	close(up[1]);
	CHECK(read(up[0], &c, 1) == 1, "the handler of %s did not register", name);
	close(up[0]);
	return pid;
}

static int reap(pid_t pid, int sig)
{
	int st;
	kill(pid, sig);
	CHECK(waitpid(pid, &st, 0) == pid, "wait");
	return st;
}

/* halt stops all threads of a process and waits until they are. */
static void halt(pid_t pid)
{
	int st;
	kill(pid, SIGSTOP);
	CHECK(waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st), "stop");
}

static int gone(const char *name, int ms)
{
	double end = now() + ms / 1e3;
	while (access(path("devices/%s", name), F_OK) == 0)
		if (now() > end)
			return 0;
		else
			nap(1);
	return 1;
}

/* next fetches a subcommand that must come. */
static void next(int fd, struct scst_user_get_cmd *c, uint32_t want)
{
	memset(c, 0, sizeof(*c));
	CHECK(!ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, c), "get");
	CHECK(c->subcode == want, "got %#x, want %#x", c->subcode, want);
}

static void reply(int fd, const struct scst_user_get_cmd *c)
{
	struct scst_user_reply_cmd r;
	answer(c, &r);
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply to %#x", c->subcode);
}

/* An initiator in a thread of its own: opens lun, and does one transfer. */
struct io {
	const char *name;
	int write, fd;
	ssize_t n;
	int err;
	char *buf;
	size_t len;
	pthread_t t;
};

static void *io_run(void *arg)
{
	struct io *x = arg;
	int fd = x->fd >= 0 ? x->fd : lun(x->name);
	if (fd < 0) {
		x->n = -1, x->err = errno;
		return NULL;
	}
	x->fd = fd;
	x->n = x->len == 0 ? 0 : x->write ? pwrite(fd, x->buf, x->len, 0) : pread(fd, x->buf, x->len, 0);
	x->err = errno;
	return NULL;
}

static struct io *io(const char *name, int fd, int write, size_t len)
{
	struct io *x = calloc(1, sizeof(*x));
	x->name = name, x->write = write, x->len = len, x->fd = fd;
	x->buf = len ? pages(len) : NULL;
	x->t = spawn(io_run, (long)x);
	return x;
}

static struct io *wait_io(struct io *x)
{
	pthread_join(x->t, NULL);
	return x;
}

/* ready registers name and has its lun open; returns the node and *l. */
static int ready(const char *name, int flags, int *l)
{
	struct scst_user_get_cmd c;
	int fd = node(flags);
	CHECK(!reg(fd, name), "register");
	struct io *x = io(name, -1, 0, 0);
	next(fd, &c, SCST_USER_ATTACH_SESS);
	CHECK(!strcmp(c.sess.initiator_name, "fuse") && c.sess.sess_h, "%s", c.sess.initiator_name);
	reply(fd, &c);
	next(fd, &c, SCST_USER_EXEC); /* READ CAPACITY */
	reply(fd, &c);
	wait_io(x);
	CHECK(x->fd >= 0, "open lun: %d", x->err);
	*l = x->fd;
	return fd;
}

/* leave closes lun while somebody answers DETACH_SESS. */
static void leave(int fd, int l)
{
	struct scst_user_get_cmd c;
	close(l);
	next(fd, &c, SCST_USER_DETACH_SESS);
	reply(fd, &c);
	close(fd);
}

static void r6_unregistered(void)
{
	int fd = node(0);
	struct scst_user_get_cmd c = { 0 };
	struct scst_user_opt o = { 0 };
	struct pollfd p = { fd, POLLIN, 0 };
	char b[8];
	FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, &c), ENODEV);
	FAILS(ioctl(fd, SCST_USER_SET_OPTIONS, &o), ENODEV);
	FAILS(ioctl(fd, SCST_USER_SET_OPTIONS, NULL), EFAULT);
	FAILS(ioctl(fd, SCST_USER_GET_OPTIONS, &o), ENODEV);
	FAILS(ioctl(fd, SCST_USER_FLUSH_CACHE), ENODEV);
	FAILS(ioctl(fd, SCST_USER_UNREGISTER_DEVICE), ENODEV);
	FAILS(ioctl(fd, _IO('u', 0x20)), EINVAL);
	FAILS(ioctl(fd, _IOW('u', 5, char[8]), b), EINVAL);
	FAILS((int)read(fd, b, 8), EINVAL);
	FAILS((int)write(fd, b, 8), EINVAL);
	CHECK(poll(&p, 1, 10) >= 0, "poll");
	close(fd);
}

static void r7_register(void)
{
	int fd = node(0);
	struct scst_user_dev_desc d;
	char *edge = (char *)pages(2 * PAGE) + PAGE;
	munmap(edge, PAGE);
	describe(&d, "r7");
	d.license_str = ADDR("MIT"), d.version_str = 8;
	FAILS(ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), EPERM);
	d.license_str = 8;
	FAILS(ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), EFAULT);
	memcpy(edge - 4, "GPL", 4);
	d.license_str = ADDR(edge - 4), d.version_str = ADDR("2.0.0");
	FAILS(ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), EINVAL);
	describe(&d, "r7");
	d.block_size = 256;
	FAILS(ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), EINVAL);
	FAILS(ioctl(fd, SCST_USER_REGISTER_DEVICE, NULL), EFAULT);
	CHECK(!reg(fd, "r7"), "register after errors");
	FAILS(reg(fd, "r7b"), EINVAL);
	int other = node(0);
	FAILS(reg(other, "r7"), EEXIST);
	close(fd);
	CHECK(!reg(other, "r7"), "register a name that was just closed");
	close(other);
	CHECK(gone("r7", 1000), "still there");
}

static void r10_nonblocking(void)
{
	int fd = node(O_NONBLOCK);
	struct scst_user_get_cmd c = { 0 };
	CHECK(!reg(fd, "r10"), "register");
	FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, &c), EAGAIN);
	fcntl(fd, F_SETFL, O_RDWR); /* latched: makes no difference */
	FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, &c), EAGAIN);
	close(fd);
}

static void on_signal(int sig) { (void)sig; }

static void catch(int flags)
{
	struct sigaction a = { .sa_handler = on_signal, .sa_flags = flags };
	sigaction(SIGUSR1, &a, NULL);
}

struct getter { int fd, rc, err; volatile int tid, over; struct scst_user_get_cmd c; };

static void *get_run(void *arg)
{
	struct getter *g = arg;
	g->tid = gettid();
	g->rc = ioctl(g->fd, SCST_USER_REPLY_AND_GET_CMD, &g->c);
	g->err = errno;
	g->over = 1;
	return NULL;
}

/* blocked waits until the get of another thread is in the kernel, or over. */
static void blocked(const struct getter *g)
{
	char name[64], line[32];
	int in = 0;
	for (double end = now() + 10; !in && !g->over && now() < end; nap(1)) {
		snprintf(name, sizeof(name), "/proc/self/task/%d/syscall", g->tid);
		FILE *f = g->tid ? fopen(name, "r") : NULL;
		CHECK(f || !g->tid || errno == ENOENT, "%s", name);
		in = f && fgets(line, sizeof(line), f) && atoi(line) == SYS_ioctl;
		if (f)
			fclose(f);
	}
	nap(20); /* and with the host */
}

/* interrupt interrupts a get until it returns: one signal could come before the
 * thread is in it. */
static void interrupt(pthread_t t, struct getter *g)
{
	for (int i = 0; !g->over && i < 1000; i++) {
		pthread_kill(t, SIGUSR1);
		nap(10);
	}
	CHECK(g->over, "the get can't be interrupted");
	pthread_join(t, NULL);
}

static void r24_eintr(void)
{
	struct getter g = { .fd = node(0) };
	CHECK(!reg(g.fd, "r24"), "register");
	catch(0);
	pthread_t t = spawn(get_run, (long)&g);
	blocked(&g);
	CHECK(!g.over, "the get did not wait");
	interrupt(t, &g);
	CHECK(g.rc == -1 && g.err == EINTR, "%d %d", g.rc, g.err);
	close(g.fd);
}

static void r24_restart(void)
{
	struct getter g = { .fd = node(0) };
	struct scst_user_get_cmd c;
	CHECK(!reg(g.fd, "r24r"), "register");
	catch(SA_RESTART);
	pthread_t t = spawn(get_run, (long)&g);
	for (int i = 0; i < 5; i++) {
		nap(20);
		pthread_kill(t, SIGUSR1);
	}
	nap(20);
	CHECK(!g.over, "the get was not restarted: %d %d", g.rc, g.err);
	struct io *x = io("r24r", -1, 0, 0);
	pthread_join(t, NULL);
	CHECK(!g.rc && g.c.subcode == SCST_USER_ATTACH_SESS, "%d %d %#x", g.rc, g.err, g.c.subcode);
	reply(g.fd, &g.c);
	next(g.fd, &c, SCST_USER_EXEC);
	reply(g.fd, &c);
	wait_io(x);
	leave(g.fd, x->fd);
}

/* A reply that a restarted get carries is not given twice (F4). */
static void f4_replay(void)
{
	int l, fd = ready("f4", 0, &l);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	struct getter g = { .fd = fd };
	catch(SA_RESTART);
	struct io *x = io("f4", l, 0, 512);
	next(fd, &c, SCST_USER_EXEC);
	answer(&c, &r);
	g.c.preply = ADDR(&r);
	pthread_t t = spawn(get_run, (long)&g);
	CHECK(wait_io(x)->n == 512, "%zd %d", x->n, x->err);
	for (int i = 0; i < 3; i++) {
		nap(20);
		pthread_kill(t, SIGUSR1);
	}
	nap(20);
	CHECK(!g.over, "%d %d", g.rc, g.err);
	x = io("f4", l, 0, 512);
	pthread_join(t, NULL);
	CHECK(!g.rc && g.c.subcode == SCST_USER_EXEC, "%d %d", g.rc, g.err);
	reply(fd, &g.c);
	CHECK(wait_io(x)->n == 512, "%zd %d", x->n, x->err);
	leave(fd, l);
}

static void r27_readonly(void)
{
	int l, fd = ready("r27", 0, &l);
	struct scst_user_get_cmd *c = pages(PAGE);
	struct io *x = io("r27", l, 0, 512);
	mprotect(c, PAGE, PROT_READ);
	FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, c), EFAULT);
	FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, c), EFAULT);
	mprotect(c, PAGE, PROT_READ | PROT_WRITE);
	next(fd, c, SCST_USER_EXEC);
	reply(fd, c);
	CHECK(wait_io(x)->n == 512, "%zd %d", x->n, x->err);
	leave(fd, l);
}

static void r25_errors(void)
{
	int l, fd = ready("r25", 0, &l);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r = { .cmd_h = 4711, .subcode = SCST_USER_EXEC };
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), ESRCH);
	struct io *x = io("r25", l, 0, 512);
	next(fd, &c, SCST_USER_EXEC);
	answer(&c, &r);
	r.subcode = SCST_USER_PARSE;
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL);
	CHECK(wait_io(x)->n == -1 && x->err == EIO, "%zd %d", x->n, x->err);
	static const int lies[] = { -1, 513, 1 << 30, 0x7fffffff };
	for (int i = 0; i < 4; i++) {
		x = io("r25", l, 0, 512);
		next(fd, &c, SCST_USER_EXEC);
		answer(&c, &r);
		r.exec_reply.resp_data_len = lies[i];
		FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL);
		CHECK(wait_io(x)->n == -1, "%zd", x->n);
	}
	leave(fd, l);
}

static void r28_multi(void)
{
	int l, fd = ready("r28", O_NONBLOCK * 0, &l);
	struct scst_user_get_multi *m = calloc(1, sizeof(*m) + 8 * sizeof(m->cmds[0]));
	struct scst_user_reply_cmd r[8];
	struct io *x[3];
	int n = 0;
	for (int i = 0; i < 3; i++)
		x[i] = io("r28", l, 0, 4096);
	while (n < 3) {
		m->preplies = 0, m->replies_cnt = 0, m->cmds_cnt = 8;
		CHECK(!ioctl(fd, SCST_USER_REPLY_AND_GET_MULTI, m), "multi");
		for (int i = 0; i < m->cmds_cnt; i++)
			answer(&m->cmds[i], &r[n++]);
	}
	m->preplies = ADDR(r), m->replies_cnt = 3, m->replies_done = 77, m->cmds_cnt = 0;
	CHECK(!ioctl(fd, SCST_USER_REPLY_AND_GET_MULTI, m), "multi");
	CHECK(m->replies_done == 3 && m->cmds_cnt == 0, "%d %d", m->replies_done, m->cmds_cnt);
	for (int i = 0; i < 3; i++)
		CHECK(wait_io(x[i])->n == 4096, "%zd %d", x[i]->n, x[i]->err);
	m->preplies = ADDR(r), m->replies_cnt = 3, m->cmds_cnt = 4; /* again: unknown handles */
	errno = 0;
	CHECK(ioctl(fd, SCST_USER_REPLY_AND_GET_MULTI, m) == -1, "replayed");
	CHECK(m->replies_done == 0 && m->cmds_cnt == 0, "%d %d", m->replies_done, m->cmds_cnt);
	m->preplies = 8, m->replies_cnt = 32767, m->cmds_cnt = 32767;
	FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_MULTI, m), EFAULT);
	leave(fd, l);
}

static void r52_buffers(void)
{
	int l, fd = ready("r52", 0, &l);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	char *ro = pages(64 << 10);
	mprotect(ro, 64 << 10, PROT_READ);
	char *hole = pages(64 << 10);
	munmap(hole + 4096, 4096);
	char *bad[] = { (char *)(PAGE * 4), ro, hole, (char *)~0xfffUL, (char *)0xffff800000000000UL };
	for (int i = 0; i < 5; i++) {
		struct io *x = io("r52", l, 1, 32 << 10);
		next(fd, &c, SCST_USER_ALLOC_MEM);
		answer(&c, &r);
		r.alloc_reply.pbuf = ADDR(bad[i]);
		FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EFAULT);
		CHECK(wait_io(x)->n == -1 && x->err == EIO, "%zd %d", x->n, x->err);
	}
	leave(fd, l);
}

/* The buffer goes away after ALLOC_MEM was answered. */
static void vanishing_buffer(void)
{
	int l, fd = ready("vanish", 0, &l);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	struct io *x = io("vanish", l, 1, 32 << 10);
	next(fd, &c, SCST_USER_ALLOC_MEM);
	answer(&c, &r);
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	/* Not munmap: the next thread's stack could come to lie there. */
	mprotect((void *)(uintptr_t)r.alloc_reply.pbuf, c.alloc_cmd.alloc_len, PROT_NONE);
	struct getter g = { .fd = fd };
	catch(0);
	pthread_t t = spawn(get_run, (long)&g);
	CHECK(wait_io(x)->n == -1 && x->err == EIO, "%zd %d", x->n, x->err);
	CHECK(!g.over, "the handler saw it: %#x", g.c.subcode);
	interrupt(t, &g);
	leave(fd, l);
}

static void r14_dup_fork(void)
{
	int fd = node(0);
	CHECK(!reg(fd, "r14"), "register");
	int d = dup(fd);
	close(fd);
	nap(50);
	CHECK(!access(path("devices/%s", "r14"), F_OK), "gone with the first descriptor");
	pid_t pid = fork();
	if (!pid) {
		nap(200);
		_exit(0);
	}
	close(d);
	nap(50);
	CHECK(!access(path("devices/%s", "r14"), F_OK), "gone while a child has it");
	reap(pid, 0);
	CHECK(gone("r14", 1000), "still there");
}

/* A child serves with its own memory through an inherited descriptor. */
static void r54_fork_memory(void)
{
	int fd = node(0);
	CHECK(!reg(fd, "r54"), "register");
	memset(disk, 'p', DISK);
	pid_t pid = fork();
	if (!pid) {
		memset(disk, 'c', DISK);
		serve((void *)(long)fd);
		_exit(0);
	}
	struct io *x = wait_io(io("r54", -1, 0, 4096));
	CHECK(x->n == 4096 && x->buf[0] == 'c' && x->buf[4095] == 'c', "%zd %c", x->n, x->buf[0]);
	close(x->fd);
	reap(pid, SIGKILL);
	close(fd);
	CHECK(gone("r54", 1000), "still there");
}

static void close_while_blocked(void)
{
	struct getter g = { .fd = node(0) };
	CHECK(!reg(g.fd, "cwb"), "register");
	catch(0);
	pthread_t t = spawn(get_run, (long)&g);
	blocked(&g);
	double t0 = now();
	close(g.fd);
	CHECK(now() - t0 < 0.5, "close waited");
	nap(50);
	CHECK(!g.over && !access(path("devices/%s", "cwb"), F_OK), "gone under a blocked get (fact 20)");
	interrupt(t, &g);
	CHECK(gone("cwb", 1000), "still there");
}

/* 4 threads serve, 4 write and read back, and all bytes are right. */
static void *pattern_run(void *arg)
{
	long k = (long)arg;
	size_t len = 48 << 10;
	char *a = malloc(len), *b = malloc(len);
	int fd = lun("threads");
	if (fd < 0)
		return (void *)1;
	for (int i = 0; i < 50; i++) {
		off_t at = k * (200 << 10) + (i * 977) % (100 << 10); /* not at blocks */
		size_t n = 1 + (i * 3571) % len;
		for (size_t j = 0; j < n; j++)
			a[j] = (char)(i * 31 + j * 7 + k);
		if (pwrite(fd, a, n, at) != (ssize_t)n || pread(fd, b, n, at) != (ssize_t)n || memcmp(a, b, n))
			return (void *)2;
	}
	if (fsync(fd) || fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, k * (200 << 10) + 5, 3000))
		return (void *)3;
	if (pread(fd, b, 3000, k * (200 << 10) + 5) != 3000)
		return (void *)4;
	for (int j = 0; j < 3000; j++)
		if (b[j])
			return (void *)5;
	close(fd);
	return NULL;
}

static void threads(void)
{
	pid_t pid = handler("threads", 4);
	pthread_t t[4];
	for (long i = 0; i < 4; i++)
		t[i] = spawn(pattern_run, i);
	for (int i = 0; i < 4; i++) {
		void *rc;
		pthread_join(t[i], &rc);
		CHECK(!rc, "thread %d: %ld", i, (long)rc);
	}
	reap(pid, SIGKILL);
	CHECK(gone("threads", 1000), "still there");
}

static volatile int stop;

static void *load_run(void *arg)
{
	(void)arg;
	char b[4096];
	int fd = lun("killed");
	while (fd >= 0 && !stop && pread(fd, b, sizeof(b), 0) == sizeof(b))
		;
	close(fd);
	return NULL;
}

/* A handler is killed with 64 commands on their way, again and again. */
static void r70_kill(void)
{
	const char *s = getenv("CYCLES");
	int cycles = s ? atoi(s) : 100;
	double worst = 0, limit = getenv("SLACK") ? atof(getenv("SLACK")) : 1; /* seconds */
	for (int i = 0; i < cycles; i++) {
		pid_t pid = handler("killed", 3);
		pthread_t t[64];
		stop = 0;
		for (int k = 0; k < 64; k++)
			t[k] = spawn(load_run, 0);
		nap(i % 10);
		double t0 = now();
		int st = reap(pid, SIGKILL);
		CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL, "%#x", st);
		CHECK(now() - t0 < limit, "reaped after %.3f s", now() - t0);
		stop = 1;
		for (int k = 0; k < 64; k++)
			pthread_join(t[k], NULL);
		CHECK(gone("killed", 1000 * limit), "still there");
		if (now() - t0 > worst)
			worst = now() - t0;
	}
	CHECK(worst < limit, "the slowest took %.3f s", worst);
	printf("%d kills, the slowest answered and gone after %.1f ms\n", cycles, worst * 1e3);
}

/* A handler that is stopped in the middle hurts nobody else. */
static void stopped(void)
{
	pid_t a = handler("stop-a", 2), b = handler("stop-b", 2);
	struct io *x = wait_io(io("stop-a", -1, 0, 512));
	CHECK(x->n == 512, "%d", x->err);
	halt(a);
	struct io *y = io("stop-a", x->fd, 0, 512);
	for (int i = 0; i < 20; i++) {
		double t0 = now();
		struct io *z = wait_io(io("stop-b", -1, 0, 4096));
		CHECK(z->n == 4096 && now() - t0 < 1, "the other device: %zd %d", z->n, z->err);
		close(z->fd);
	}
	kill(a, SIGCONT);
	CHECK(wait_io(y)->n == 512, "after SIGCONT: %d", y->err);
	halt(a);
	y = io("stop-a", x->fd, 0, 512);
	nap(20);
	reap(a, SIGKILL);
	CHECK(wait_io(y)->n == -1, "after SIGKILL");
	close(x->fd);
	reap(b, SIGKILL);
	CHECK(gone("stop-a", 1000) && gone("stop-b", 1000), "still there");
}

/* A handler killed in SET_OPTIONS, which waits for its own command, is gone at
 * once. */
static void r17_kill_in_options(void)
{
	int up[2];
	char ch;
	CHECK(!pipe(up), "pipe");
	pid_t pid = fork();
	if (!pid) {
		int l, fd = ready("r17", 0, &l);
		struct scst_user_get_cmd c;
		struct scst_user_opt o;
		ioctl(fd, SCST_USER_GET_OPTIONS, &o);
		io("r17", l, 0, 512);
		next(fd, &c, SCST_USER_EXEC);
		(void)!write(up[1], "x", 1);
		ioctl(fd, SCST_USER_SET_OPTIONS, &o); /* for 90 s (R16) */
		_exit(1);
	}
	close(up[1]);
	CHECK(read(up[0], &ch, 1) == 1, "child");
	nap(50);
	double t0 = now();
	reap(pid, SIGKILL);
	CHECK(now() - t0 < 1, "reaped after %.3f s", now() - t0);
	CHECK(gone("r17", 2000), "still there");
}

static void r38_prealloc(void)
{
	int l, fd = ready("r38", 0, &l);
	struct scst_user_get_cmd c;
	char *b = pages(PAGE);
	union scst_user_prealloc_buffer p;
#define PRE(addr, n) (p.in = (struct scst_user_prealloc_buffer_in){ ADDR(addr), n, 0 }, ioctl(fd, SCST_USER_PREALLOC_BUFFER, &p))
	FAILS(PRE(b + 1, PAGE), EINVAL);
	FAILS(PRE(PAGE, PAGE), EFAULT);
	FAILS(PRE(b, 0), ENOMEM);
	CHECK(!PRE(b, PAGE), "prealloc");
	struct io *x = io("r38", l, 1, 4096);
	memset(x->buf, 'w', 4096);
	next(fd, &c, SCST_USER_EXEC);
	CHECK(c.exec_cmd.pbuf == ADDR(b), "%#lx", (long)c.exec_cmd.pbuf);
	reply(fd, &c);
	CHECK(wait_io(x)->n == 4096, "%d", x->err);
	CHECK(!ioctl(fd, SCST_USER_FLUSH_CACHE), "flush"); /* R35 */
	for (int i = 0; i < 1; i++) {
		next(fd, &c, SCST_USER_ON_CACHED_MEM_FREE);
		reply(fd, &c);
	}
	/* What READ CAPACITY brought is idle as well. */
	struct scst_user_opt o = { 0 };
	CHECK(!ioctl(fd, SCST_USER_GET_OPTIONS, &o) && o.memory_reuse_type == 3 && o.tst == 1, "options");
	close(l), close(fd);
	CHECK(gone("r38", 1000), "still there");
}

#include "session.h"
#include "more.h"
#include "rest.h"

static const struct test { const char *name; void (*run)(void); } session_tests[] = { SESSION_TESTS, MORE_TESTS, REST_TESTS };

static const struct test tests[] = {
	{ "R5_versions", r5_versions }, { "R5_exact", r5_exact },
	{ "R6_unregistered", r6_unregistered }, { "R7_R9_register", r7_register }, { "R10_nonblocking", r10_nonblocking },
	{ "R14_dup_fork", r14_dup_fork }, { "R17_kill_in_options", r17_kill_in_options }, { "R24_eintr", r24_eintr },
	{ "R24_restart", r24_restart }, { "F4_replay", f4_replay }, { "R25_errors", r25_errors },
	{ "R27_readonly", r27_readonly }, { "R28_multi", r28_multi }, { "R38_prealloc", r38_prealloc },
	{ "R52_buffers", r52_buffers }, { "R54_fork_memory", r54_fork_memory }, { "R70_kill", r70_kill },
	{ "vanishing_buffer", vanishing_buffer }, { "close_while_blocked", close_while_blocked },
	{ "threads", threads }, { "stopped", stopped },
};

int main(int argc, char **argv)
{
	mnt = argc > 1 ? argv[1] : NULL;
	if (argc == 4 && !strcmp(argv[2], "-handler")) { /* serve until killed */
		int fd = node(0);
		CHECK(!reg(fd, argv[3]), "register");
		puts("serving");
		fflush(stdout);
		spawn(serve, fd);
		serve((void *)(long)fd);
		return 1;
	}
	for (size_t i = 0; i < sizeof(session_tests) / sizeof(session_tests[0]); i++) {
		if (argc == 3 && !strcmp(argv[2], "-sessions"))
			puts(session_tests[i].name);
		else if (argc == 3 && !strcmp(argv[2], session_tests[i].name))
			return session_tests[i].run(), 0;
	}
	if (argc == 3 && !strcmp(argv[2], "-sessions"))
		return 0;
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (argc < 3)
			puts(tests[i].name);
		else if (!strcmp(argv[2], tests[i].name))
			return tests[i].run(), 0;
	}
	return argc < 3 ? 0 : 2;
}
