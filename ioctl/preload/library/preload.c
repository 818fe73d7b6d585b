/* SPDX-License-Identifier: Apache-2.0
 *
 * Records the calls of a handler program on a scst_user node: see doc.go. One
 * line of JSON per event, in one write, to the file that SCST_TRACE_FILE names.
 *
 * Rules of this file: it may be called from signal handlers and between fork
 * and exec, so it neither allocates with malloc nor takes locks (the table of
 * descriptors is made of atomics); it leaves errno as the wrapped call set it;
 * it touches what the program's pointers lead to through the kernel only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The interface, as far as it is needed: numbers, sizes, offsets. */
enum {
	REGISTER = 0x40A07501, GET_CMD = 0xC2207505, REPLY_CMD = 0x40387506, MULTI = 0xC010750B,
	SUB_EXEC = 0xC0687303, SUB_PARSE = 0xC0507301, SUB_REMAP = 0xC0307306,
	GET_CMD_SIZE = 544, REPLY_SIZE = 56, MULTI_SIZE = 16, ID_MAX = 91,
	/* offsets in exec_cmd, reply_parse, reply_remap */
	EXEC_BUFFLEN = 48, EXEC_PBUF = 56, EXEC_DIRECTION = 65,
	PARSE_SENSE_LEN = 8, PARSE_SENSE = 16, REMAP_SENSE_LEN = 11, REMAP_SENSE = 16,
};
#define OP_TYPE(op) (((op) >> 8) & 0xff)
#define OP_SIZE(op) (((op) >> 16) & 0x3fff)
#define OP_IN(op) (((op) >> 30) & 1)
#define OP_OUT(op) (((op) >> 31) & 1)

#define FDS 4096      /* descriptors beyond are not followed */
#define MAX_ITEMS 4096 /* replies or subcommands of a call; more are left out */

static _Atomic uint64_t files[FDS]; /* per descriptor: opener << 32 | number, 0: not a node */
static _Atomic uint32_t next_file;
static _Atomic uint64_t next_call;
static _Atomic int trace_fd = -1;
static _Atomic uint64_t trace_ino;
static size_t data_max = 512;

/* ---- a line being built ---- */

struct line {
	char *p;
	size_t n, cap;
	int bad; /* there was no memory: the line is not written */
	char small[8192];
};

static void line_start(struct line *l)
{
	l->p = l->small;
	l->cap = sizeof(l->small);
	l->n = 0;
	l->bad = 0;
}

static int line_room(struct line *l, size_t more)
{
	size_t cap = l->cap;
	char *p;

	if (l->bad)
		return 0;
	if (l->n + more <= l->cap)
		return 1;
	while (cap < l->n + more)
		cap *= 4;
	p = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		l->bad = 1;
		return 0;
	}
	memcpy(p, l->p, l->n);
	if (l->p != l->small)
		munmap(l->p, l->cap);
	l->p = p;
	l->cap = cap;
	return 1;
}

static void put(struct line *l, const char *s)
{
	size_t n = strlen(s);

	if (line_room(l, n)) {
		memcpy(l->p + l->n, s, n);
		l->n += n;
	}
}

static void put_int(struct line *l, const char *key, int64_t v)
{
	char digits[24], *d = digits + sizeof(digits);
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

	*--d = 0;
	do
		*--d = (char)('0' + u % 10);
	while (u /= 10);
	if (v < 0)
		*--d = '-';
	put(l, key);
	put(l, d);
}

static void put_bytes(struct line *l, const char *key, const void *b, size_t n)
{
	const unsigned char *p = b;

	put(l, key);
	put(l, "\"");
	if (line_room(l, 2 * n)) {
		for (size_t i = 0; i < n; i++) {
			l->p[l->n++] = "0123456789abcdef"[p[i] >> 4];
			l->p[l->n++] = "0123456789abcdef"[p[i] & 15];
		}
	}
	put(l, "\"");
}

/* ---- the program's memory ---- */

/* How many of n bytes at p could be copied to to. */
static size_t peek(void *to, uint64_t p, size_t n)
{
	struct iovec l = { to, n }, r = { (void *)(uintptr_t)p, n };
	ssize_t k;

	if (!p || !n)
		return 0;
	k = process_vm_readv(getpid(), &l, 1, &r, 1, 0);
	return k < 0 ? 0 : (size_t)k;
}

static uint64_t u64(const unsigned char *b)
{
	uint64_t v;
	memcpy(&v, b, sizeof(v));
	return v;
}

static uint32_t u32(const unsigned char *b)
{
	uint32_t v;
	memcpy(&v, b, sizeof(v));
	return v;
}

static uint16_t u16(const unsigned char *b)
{
	uint16_t v;
	memcpy(&v, b, sizeof(v));
	return v;
}

/* What is at p, at most 4096 bytes of it, if all of that can be read. */
static void put_memory(struct line *l, const char *key, uint64_t p, size_t n)
{
	unsigned char b[4096];

	if (n > sizeof(b))
		n = sizeof(b);
	if (n && peek(b, p, n) == n)
		put_bytes(l, key, b, n);
}

/* ---- the file ---- */

/* The real functions, found before main. */
static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static int (*real_dup)(int);
static int (*real_dup2)(int, int);
static int (*real_dup3)(int, int, int);
static int (*real_fcntl)(int, int, ...);
static int (*real_ioctl)(int, unsigned long, ...);
static int (*real_poll)(struct pollfd *, nfds_t, int);

static void trace_open(void)
{
	const char *name = getenv("SCST_TRACE_FILE");
	struct stat st;
	int fd, high;

	if (!name || !real_open)
		return;
	fd = real_open(name, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return;
	high = real_fcntl(fd, F_DUPFD_CLOEXEC, 800); /* out of the program's way */
	if (high >= 0) {
		real_close(fd);
		fd = high;
	}
	if (fstat(fd, &st) == 0)
		trace_ino = st.st_ino;
	trace_fd = fd;
}

/* Appends the line. A program that closes descriptors wholesale (daemons do) may
 * have taken ours, or put something else in its place. */
static void line_end(struct line *l)
{
	struct stat st;

	put(l, "}\n");
	if (!l->bad) {
		if (trace_fd < 0 || fstat(trace_fd, &st) != 0 || st.st_ino != trace_ino)
			trace_open();
		/* A full disk: the program goes on, without what is missing. */
		if (trace_fd >= 0 && write(trace_fd, l->p, l->n) < 0)
			l->bad = 1;
	}
	if (l->p != l->small)
		munmap(l->p, l->cap);
}

static void line_begin(struct line *l, const char *ev, uint64_t file)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	line_start(l);
	put(l, "{\"ev\":\"");
	put(l, ev);
	put_int(l, "\",\"t_ns\":", (int64_t)t.tv_sec * 1000000000 + t.tv_nsec);
	put_int(l, ",\"pid\":", getpid());
	put_int(l, ",\"tid\":", syscall(SYS_gettid));
	put_int(l, ",\"opener\":", (int64_t)(file >> 32));
	put_int(l, ",\"number\":", (int64_t)(file & 0xffffffff));
}

/* ---- descriptors ---- */

static uint64_t file_of(int fd)
{
	return fd >= 0 && fd < FDS ? files[fd] : 0;
}

static int is_node(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return path && strcmp(slash ? slash + 1 : path, "scst_user") == 0;
}

static void opened(int fd, int flags)
{
	struct line l;
	uint64_t file;

	if (fd < 0 || fd >= FDS)
		return;
	file = (uint64_t)getpid() << 32 | ++next_file;
	files[fd] = file;
	line_begin(&l, "open", file);
	put_int(&l, ",\"fd\":", fd);
	if (flags & O_NONBLOCK)
		put(&l, ",\"nonblock\":true");
	line_end(&l);
}

static void closed(int fd, uint64_t file)
{
	struct line l;

	line_begin(&l, "close", file);
	put_int(&l, ",\"fd\":", fd);
	line_end(&l);
}

static void copied(int from, int to)
{
	struct line l;
	uint64_t file = file_of(from), old;

	if (to < 0 || to >= FDS || from == to)
		return;
	old = atomic_exchange(&files[to], file);
	if (old)
		closed(to, old);
	if (file) {
		line_begin(&l, "dup", file);
		put_int(&l, ",\"fd\":", to);
		line_end(&l);
	}
}

/* ---- ioctl ---- */

/* One reply_cmd and what it points to. */
static void put_reply(struct line *l, const unsigned char *b)
{
	uint32_t sub = u32(b + 4);
	const unsigned char *x = b + 8;

	put_bytes(l, "{\"raw\":", b, REPLY_SIZE);
	if (sub == SUB_EXEC) { /* resp@0 pbuf@8 type@16 status@17 len@24 ptr@32 */
		int32_t resp = (int32_t)u32(x);
		if (x[16] == 2)
			put_memory(l, ",\"ws_descriptors\":", u64(x + 32), u16(x + 24));
		else
			put_memory(l, ",\"sense\":", u64(x + 32), x[24]);
		if (resp > 0)
			put_memory(l, ",\"data\":", u64(x + 8), (size_t)resp < data_max ? (size_t)resp : data_max);
	} else if (sub == SUB_PARSE) {
		if (x[0]) /* only a reply with a status has sense */
			put_memory(l, ",\"sense\":", u64(x + PARSE_SENSE), x[PARSE_SENSE_LEN]);
	} else if (sub == SUB_REMAP) {
		put_memory(l, ",\"remap_descriptors\":", u64(x), u16(x + 8));
		put_memory(l, ",\"sense\":", u64(x + REMAP_SENSE), x[REMAP_SENSE_LEN]);
	}
	put(l, "}");
}

static void put_replies(struct line *l, uint64_t p, int n)
{
	unsigned char b[REPLY_SIZE];

	if (n > MAX_ITEMS)
		n = MAX_ITEMS;
	put(l, ",\"replies\":[");
	for (int i = 0; i < n; i++) {
		if (peek(b, p + (uint64_t)i * REPLY_SIZE, sizeof(b)) != sizeof(b))
			break;
		if (i)
			put(l, ",");
		put_reply(l, b);
	}
	put(l, "]");
}

static void put_string(struct line *l, const char *key, uint64_t p)
{
	char b[ID_MAX + 1];
	size_t n = peek(b, p, ID_MAX), k;

	if (n == 0) /* near the end of its memory: byte by byte */
		while (n < ID_MAX && peek(b + n, p + n, 1) == 1 && b[n++])
			;
	for (k = 0; k < n && b[k]; k++)
		if (b[k] < ' ' || b[k] > '~' || b[k] == '"' || b[k] == '\\')
			b[k] = '?';
	b[k < ID_MAX ? k : ID_MAX] = 0;
	put(l, key);
	put(l, "\"");
	put(l, b);
	put(l, "\"");
}

static void put_in(struct line *l, unsigned long op, uint64_t arg)
{
	unsigned char b[4096];
	size_t n = OP_SIZE(op);

	if (!OP_IN(op) || n > sizeof(b) || peek(b, arg, n) != n)
		return;
	put_bytes(l, ",\"in\":{\"raw\":", b, n);
	switch ((uint32_t)op) {
	case REGISTER:
		put_string(l, ",\"version_str\":", u64(b));
		put_string(l, ",\"license_str\":", u64(b + 8));
		break;
	case GET_CMD:
		if (u64(b + 8))
			put_replies(l, u64(b + 8), 1);
		break;
	case MULTI:
		put_replies(l, u64(b), (int16_t)u16(b + 8));
		break;
	case REPLY_CMD:
		put(l, ",\"replies\":[");
		put_reply(l, b);
		put(l, "]");
		break;
	}
	put(l, "}");
}

/* One get_cmd, as long as its payload, and the beginning of a WRITE's data. */
static void put_cmd(struct line *l, uint64_t p)
{
	unsigned char b[GET_CMD_SIZE];
	uint32_t sub;
	size_t n;

	if (peek(b, p, 8) != 8)
		return;
	sub = u32(b + 4);
	n = 8 + OP_SIZE(sub);
	if (n > sizeof(b) || peek(b, p, n) != n)
		return;
	put_bytes(l, "{\"raw\":", b, n);
	if (sub == SUB_EXEC) {
		const unsigned char *x = b + 8;
		int32_t len = (int32_t)u32(x + EXEC_BUFFLEN);
		if ((x[EXEC_DIRECTION] & 1) && len > 0)
			put_memory(l, ",\"data\":", u64(x + EXEC_PBUF), (size_t)len < data_max ? (size_t)len : data_max);
	}
	put(l, "}");
}

static void put_out(struct line *l, unsigned long op, uint64_t arg, int ret)
{
	unsigned char b[4096];
	size_t n = OP_SIZE(op);

	if ((uint32_t)op == GET_CMD) {
		if (ret != 0)
			return;
		put(l, ",\"out\":{\"cmds\":[");
		put_cmd(l, arg);
		put(l, "]}");
		return;
	}
	if (!OP_OUT(op) || n > sizeof(b) || peek(b, arg, n) != n || (ret != 0 && (uint32_t)op != MULTI))
		return;
	put_bytes(l, ",\"out\":{\"raw\":", b, n);
	if ((uint32_t)op == MULTI) {
		int cmds = (int16_t)u16(b + 12);
		if (cmds > MAX_ITEMS)
			cmds = MAX_ITEMS;
		put(l, ",\"cmds\":[");
		for (int i = 0; i < cmds; i++) {
			if (i)
				put(l, ",");
			put_cmd(l, arg + MULTI_SIZE + (uint64_t)i * GET_CMD_SIZE);
		}
		put(l, "]");
	}
	put(l, "}");
}

static void put_op(struct line *l, const char *name, unsigned long op, uint64_t call)
{
	char digits[16] = "0x";

	if (!name) {
		for (int i = 0; i < 8; i++)
			digits[2 + i] = "0123456789abcdef"[(op >> (28 - 4 * i)) & 15];
		digits[10] = 0;
		name = digits;
	}
	put(l, ",\"op\":\"");
	put(l, name);
	put_int(l, "\",\"id\":", (int64_t)call);
}

static void put_ret(struct line *l, int ret, int err)
{
	if (ret)
		put_int(l, ",\"ret\":", ret);
	if (ret < 0) {
		put_int(l, ",\"errno\":\"errno ", err);
		put(l, "\"");
	}
}

/* ---- what the program calls ---- */

#define EXPORT __attribute__((visibility("default")))

static void *find(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static void find_all(void)
{
	real_open = (int (*)(const char *, int, ...))find("open64");
	real_openat = (int (*)(int, const char *, int, ...))find("openat64");
	real_close = (int (*)(int))find("close");
	real_dup = (int (*)(int))find("dup");
	real_dup2 = (int (*)(int, int))find("dup2");
	real_dup3 = (int (*)(int, int, int))find("dup3");
	real_fcntl = (int (*)(int, int, ...))find("fcntl");
	real_poll = (int (*)(struct pollfd *, nfds_t, int))find("poll");
	real_ioctl = (int (*)(int, unsigned long, ...))find("ioctl");
}

__attribute__((constructor)) static void start(void)
{
	const char *max = getenv("SCST_TRACE_DATA");

	if (!real_ioctl)
		find_all();
	if (max)
		data_max = (size_t)strtoul(max, NULL, 10);
	trace_open();
}

/* Before the constructor ran, other libraries' constructors may call us. */
#define READY() do { if (!real_ioctl) find_all(); } while (0)

static mode_t mode_of(int flags, va_list *ap)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(*ap, mode_t) : 0;
}

static int after_open(const char *path, int flags, int fd)
{
	int e = errno;

	if (fd >= 0 && is_node(path))
		opened(fd, flags);
	errno = e;
	return fd;
}

#define OPEN(name)                                             \
	EXPORT int name(const char *path, int flags, ...)      \
	{                                                      \
		va_list ap;                                    \
		mode_t mode;                                   \
		READY();                                       \
		va_start(ap, flags);                           \
		mode = mode_of(flags, &ap);                    \
		va_end(ap);                                    \
		return after_open(path, flags, real_open(path, flags, mode)); \
	}
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                     \
	EXPORT int name(int dir, const char *path, int flags, ...)       \
	{                                                                \
		va_list ap;                                              \
		mode_t mode;                                             \
		READY();                                                 \
		va_start(ap, flags);                                     \
		mode = mode_of(flags, &ap);                              \
		va_end(ap);                                              \
		return after_open(path, flags, real_openat(dir, path, flags, mode)); \
	}
OPENAT(openat)
OPENAT(openat64)

/* What the compiler makes of open with checks. */
EXPORT int __open_2(const char *path, int flags)
{
	READY();
	return after_open(path, flags, real_open(path, flags));
}

EXPORT int __open64_2(const char *path, int flags)
{
	READY();
	return after_open(path, flags, real_open(path, flags));
}

EXPORT int close(int fd)
{
	uint64_t file;
	int ret, e;

	READY();
	if (fd >= 0 && fd == trace_fd)
		return 0; /* ours: a program that closes everything */
	file = fd >= 0 && fd < FDS ? atomic_exchange(&files[fd], 0) : 0;
	if (file)
		closed(fd, file); /* before: the number may be used again at once */
	ret = real_close(fd);
	e = errno;
	errno = e;
	return ret;
}

EXPORT int dup(int fd)
{
	int ret, e;

	READY();
	ret = real_dup(fd);
	e = errno;
	copied(fd, ret);
	errno = e;
	return ret;
}

EXPORT int dup2(int from, int to)
{
	int ret, e;

	READY();
	ret = real_dup2(from, to);
	e = errno;
	copied(from, ret);
	errno = e;
	return ret;
}

EXPORT int dup3(int from, int to, int flags)
{
	int ret, e;

	READY();
	ret = real_dup3(from, to, flags);
	e = errno;
	copied(from, ret);
	errno = e;
	return ret;
}

#define FCNTL(name)                                                           \
	EXPORT int name(int fd, int cmd, ...)                                 \
	{                                                                     \
		va_list ap;                                                   \
		void *arg;                                                    \
		int ret, e;                                                   \
		READY();                                                      \
		va_start(ap, cmd);                                            \
		arg = va_arg(ap, void *);                                     \
		va_end(ap);                                                   \
		ret = real_fcntl(fd, cmd, arg);                               \
		e = errno;                                                    \
		if (ret >= 0 && (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC))   \
			copied(fd, ret);                                      \
		errno = e;                                                    \
		return ret;                                                   \
	}
FCNTL(fcntl)
FCNTL(fcntl64)

EXPORT int ioctl(int fd, unsigned long op, ...)
{
	struct line l;
	va_list ap;
	void *arg;
	uint64_t file, call;
	int ret, e;

	READY();
	va_start(ap, op);
	arg = va_arg(ap, void *);
	va_end(ap);
	file = file_of(fd);
	if (!file && OP_TYPE(op) == 'u' && (op & 0xff) >= 1 && (op & 0xff) <= 11 && fd >= 0 && fd < FDS) {
		opened(fd, 0); /* inherited, or opened by another name */
		file = file_of(fd);
	}
	if (!file)
		return real_ioctl(fd, op, arg);
	call = ++next_call;
	line_begin(&l, "enter", file);
	put_op(&l, NULL, op, call);
	put_in(&l, op, (uint64_t)(uintptr_t)arg);
	line_end(&l);
	ret = real_ioctl(fd, op, arg);
	e = errno;
	line_begin(&l, "exit", file);
	put_op(&l, NULL, op, call);
	put_ret(&l, ret, e);
	put_out(&l, op, (uint64_t)(uintptr_t)arg, ret);
	line_end(&l);
	errno = e;
	return ret;
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct line l;
	uint64_t file = 0, call;
	int ret, e;

	READY();
	for (nfds_t i = 0; i < n && !file; i++)
		file = file_of(fds[i].fd);
	if (!file)
		return real_poll(fds, n, timeout);
	call = ++next_call;
	line_begin(&l, "enter", file);
	put_op(&l, "poll", 0, call);
	line_end(&l);
	ret = real_poll(fds, n, timeout);
	e = errno;
	line_begin(&l, "exit", file);
	put_op(&l, "poll", 0, call);
	put_ret(&l, ret, e);
	line_end(&l);
	errno = e;
	return ret;
}
