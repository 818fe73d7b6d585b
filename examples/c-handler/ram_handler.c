/* A handler in C, to be copied: a disk in memory, registered with an scst_user
 * node. See README.md for how to run it; the rules are docs/scst_user.md's. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "scst_user_abi.h"

enum { BLOCK = 512, PAGE = 4096, GOOD = 0, CHECK_CONDITION = 2, BUSY = 8 };

static uint8_t *disk;
static uint64_t blocks;
static pthread_rwlock_t disk_lock = PTHREAD_RWLOCK_INITIALIZER; /* guards disk's bytes */
static int node;             /* the open node: it is the device */
static atomic_int stopping;  /* no thread fetches any more */
static atomic_int lost;      /* the errno with which a thread had to end */

/* What a reply points to has to stay until the ioctl that gives it returns. */
struct thread {
	struct scst_user_get_cmd cmd;
	struct scst_user_reply_cmd reply;
	uint64_t fresh; /* a buffer that the reply gives, 0 if none */
	uint8_t sense[SCST_STANDARD_SENSE_LEN];
	struct scst_user_ext_copy_data_descr rest;
};

/* Buffers begin at a page and are not inherited by a fork: the kernel may have
 * pinned them (rules R51, R54). The page in front of each holds its length. */
static uint64_t buffer_alloc(int32_t len)
{
	size_t size;
	char *p;

	if (len <= 0)
		return 0;
	size = PAGE + ((size_t)len + PAGE - 1) / PAGE * PAGE;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return 0;
	if (madvise(p, size, MADV_DONTFORK) != 0) {
		munmap(p, size);
		return 0;
	}
	memcpy(p, &size, sizeof(size));
	return (uint64_t)(uintptr_t)(p + PAGE);
}

static void buffer_free(uint64_t pbuf)
{
	char *p = (char *)(uintptr_t)pbuf - PAGE;
	size_t size;

	if (pbuf == 0)
		return;
	memcpy(&size, p, sizeof(size));
	munmap(p, size);
}

/* set_sense makes fixed format sense data and returns the status to go with it. */
static uint8_t set_sense(struct thread *t, uint8_t key, uint8_t asc, uint8_t ascq)
{
	memset(t->sense, 0, sizeof(t->sense));
	t->sense[0] = 0x70;
	t->sense[2] = key;
	t->sense[7] = sizeof(t->sense) - 8;
	t->sense[12] = asc;
	t->sense[13] = ascq;
	return CHECK_CONDITION;
}

static uint8_t illegal_opcode(struct thread *t) { return set_sense(t, 5, 0x20, 0); }
static uint8_t illegal_field(struct thread *t) { return set_sense(t, 5, 0x24, 0); }

/* respond puts an answer into the buffer, as much as was asked for (rule R57). */
static uint8_t respond(uint8_t *buf, int32_t room, const void *answer, int32_t len, int32_t *resp)
{
	*resp = len < room ? len : room;
	if (*resp > 0)
		memcpy(buf, answer, *resp);
	return GOOD;
}

static uint8_t inquiry(struct thread *t, uint8_t *buf, int32_t room, int32_t *resp)
{
	static const uint8_t pages[] = { 0, 0, 0, 2, 0x00, 0x83 };
	static const uint8_t id[] = { 0, 0x83, 0, 16, 0x02, 0x01, 0, 12,
		'E', 'X', 'A', 'M', 'P', 'L', 'E', ' ', 'R', 'A', 'M', '0' };
	/* SPC-3, 31 more bytes, command queueing; vendor, product, revision */
	static const char standard[] = "\0\0\5\2\37\0\0\2" "EXAMPLE " "RAM DISK IN C   " "1.0 ";
	const uint8_t *cdb = t->cmd.exec_cmd.cdb;

	if (!(cdb[1] & 1))
		return respond(buf, room, standard, sizeof(standard) - 1, resp);
	switch (cdb[2]) {
	case 0x00: return respond(buf, room, pages, sizeof(pages), resp);
	case 0x83: return respond(buf, room, id, sizeof(id), resp);
	}
	return illegal_field(t);
}

static uint8_t read_capacity(struct thread *t, uint8_t *buf, int32_t room, int32_t *resp)
{
	uint64_t last = htobe64(blocks - 1);
	uint32_t small = htobe32(blocks - 1 > 0xffffffff ? 0xffffffff : (uint32_t)(blocks - 1));
	uint32_t size = htobe32(BLOCK);
	uint8_t b[32] = { 0 };

	if (t->cmd.exec_cmd.cdb[0] == 0x25) {
		memcpy(b, &small, 4);
		memcpy(b + 4, &size, 4);
		return respond(buf, room, b, 8, resp);
	}
	if ((t->cmd.exec_cmd.cdb[1] & 0x1f) != 0x10) /* other service actions */
		return illegal_field(t);
	memcpy(b, &last, 8);
	memcpy(b + 8, &size, 4);
	return respond(buf, room, b, 32, resp);
}

/* move copies between the disk and the buffer. The target has worked out lba and
 * bufflen from the CDB, and does not compare them with the capacity. */
static uint8_t move(struct thread *t, uint8_t *buf, int32_t *resp)
{
	const struct scst_user_scsi_cmd_exec *x = &t->cmd.exec_cmd;
	uint64_t n = (uint64_t)x->bufflen / BLOCK;

	if (x->lba > blocks || n > blocks - x->lba)
		return set_sense(t, 5, 0x21, 0); /* out of range */
	if (n == 0)
		return GOOD;
	if (x->data_direction == SCST_DATA_WRITE) {
		pthread_rwlock_wrlock(&disk_lock);
		memcpy(disk + x->lba * BLOCK, buf, n * BLOCK);
	} else {
		pthread_rwlock_rdlock(&disk_lock);
		memcpy(buf, disk + x->lba * BLOCK, n * BLOCK);
		*resp = (int32_t)(n * BLOCK);
	}
	pthread_rwlock_unlock(&disk_lock);
	return GOOD;
}

/* command carries out one SCSI command and returns its status. */
static uint8_t command(struct thread *t, uint8_t *buf, int32_t room, int32_t *resp)
{
	static const uint8_t no_pages6[4] = { 3 }, no_pages10[8] = { 0, 6 }, no_sense[18] = { 0x70, 0, 0, 0, 0, 0, 0, 10 };

	switch (t->cmd.exec_cmd.cdb[0]) {
	case 0x00: /* TEST UNIT READY */
	case 0x35: case 0x91: /* SYNCHRONIZE CACHE: there is none */
		return GOOD;
	case 0x03: return respond(buf, room, no_sense, sizeof(no_sense), resp); /* REQUEST SENSE */
	case 0x12: return inquiry(t, buf, room, resp);
	case 0x1a: return respond(buf, room, no_pages6, sizeof(no_pages6), resp); /* MODE SENSE */
	case 0x5a: return respond(buf, room, no_pages10, sizeof(no_pages10), resp);
	case 0x25: case 0x9e: return read_capacity(t, buf, room, resp);
	case 0x08: case 0x28: case 0xa8: case 0x88: /* READ */
	case 0x0a: case 0x2a: case 0xaa: case 0x8a: /* WRITE */
		return move(t, buf, resp);
	}
	return illegal_opcode(t);
}

static void exec(struct thread *t)
{
	const struct scst_user_scsi_cmd_exec *x = &t->cmd.exec_cmd;
	struct scst_user_scsi_cmd_reply_exec *r = &t->reply.exec_reply;
	uint64_t pbuf = x->pbuf;
	int32_t resp = 0;

	r->reply_type = SCST_EXEC_REPLY_COMPLETED;
	if (pbuf == 0 && x->alloc_len > 0) { /* a READ without a cached buffer (rule R56) */
		pbuf = t->fresh = buffer_alloc(x->alloc_len);
		if (pbuf == 0) {
			r->status = BUSY;
			return;
		}
	}
	r->status = command(t, (uint8_t *)(uintptr_t)pbuf, pbuf ? x->bufflen : 0, &resp);
	if (r->status == CHECK_CONDITION) {
		resp = 0;
		r->sense_len = sizeof(t->sense);
		r->psense_buffer = (uint64_t)(uintptr_t)t->sense;
	}
	r->resp_data_len = resp;
	if (resp == 0) { /* then the buffer is not looked at: it stays ours (rule R56) */
		buffer_free(t->fresh);
		t->fresh = 0;
	}
	r->pbuf = t->fresh;
}

/* handle carries out a subcommand and makes the reply: every one has one (R26). */
static void handle(struct thread *t)
{
	struct scst_user_get_cmd *c = &t->cmd;
	struct scst_user_reply_cmd *r = &t->reply;

	memset(r, 0, sizeof(*r));
	r->cmd_h = c->cmd_h;
	r->subcode = c->subcode;
	t->fresh = 0;
	switch (c->subcode) {
	case SCST_USER_EXEC:
		exec(t);
		break;
	case SCST_USER_ALLOC_MEM: /* 0 is no memory: the initiator tries again (R52) */
		r->alloc_reply.pbuf = t->fresh = buffer_alloc(c->alloc_cmd.alloc_len);
		break;
	case SCST_USER_ON_FREE_CMD: /* not with the options below; this is the rule (R61) */
		if (!c->on_free_cmd.buffer_cached)
			buffer_free(c->on_free_cmd.pbuf);
		break;
	case SCST_USER_ON_CACHED_MEM_FREE:
		buffer_free(c->on_cached_mem_free.pbuf);
		break;
	case SCST_USER_PARSE: /* only what the standard parser doesn't know would come */
		r->parse_reply.status = illegal_opcode(t);
		r->parse_reply.sense_len = sizeof(t->sense);
		r->parse_reply.psense_buffer = (uint64_t)(uintptr_t)t->sense;
		break;
	case SCST_USER_EXT_COPY_REMAP: /* nothing is remapped: copy the whole segment */
		t->rest = c->remap_cmd.data_descr;
		r->remap_reply.remap_descriptors = (uint64_t)(uintptr_t)&t->rest;
		r->remap_reply.remap_descriptors_len = sizeof(t->rest);
		break;
	default: /* sessions and task management: 0 is success */
		break;
	}
}

/* serve is a thread: it gives the reply to the last subcommand and gets the next
 * one in one ioctl. No signal comes here (see main), so no ioctl is restarted,
 * which would give its reply twice (rule R24). */
static void *serve(void *arg)
{
	struct thread *t = calloc(1, sizeof(*t));
	int due = 0;

	(void)arg;
	while (t != NULL) {
		int last = stopping, rc;

		if (last && !due)
			break;
		t->cmd.preply = due ? (uint64_t)(uintptr_t)&t->reply : 0;
		rc = last ? ioctl(node, SCST_USER_REPLY_CMD, &t->reply) : ioctl(node, SCST_USER_REPLY_AND_GET_CMD, &t->cmd);
		if (rc == 0) {
			if ((due = !last))
				handle(t);
			continue;
		}
		if (errno == EINTR || errno == EAGAIN) {
			due = 0; /* the get failed; the reply before it was taken (R23) */
			if (errno == EAGAIN) /* UNREGISTER_DEVICE, or the host has let us go */
				break;
		} else if (due && (errno == ESRCH || errno == EINVAL || errno == EFAULT)) {
			/* Refused: the command is over, and the buffer never got there;
			 * after EFAULT nobody knows. */
			if (errno != EFAULT)
				buffer_free(t->fresh);
			due = 0;
		} else {
			lost = errno;
			break;
		}
	}
	free(t);
	if (!stopping)
		kill(getpid(), SIGUSR1); /* main takes it */
	return NULL;
}

int main(int argc, char **argv)
{
	struct scst_user_dev_desc desc = {
		.type = 0, .block_size = BLOCK, .name = "ram",
		/* Buffers serve one command after the other, so nobody needs to hear
		 * when a command is freed. */
		.opt = { .parse_type = SCST_USER_PARSE_STANDARD, .on_free_cmd_type = SCST_USER_ON_FREE_CMD_IGNORE,
			.memory_reuse_type = SCST_USER_MEM_REUSE_ALL, .tst = SCST_TST_1_SEP_TASK_SETS,
			.queue_alg = SCST_QUEUE_ALG_1_UNRESTRICTED_REORDER },
	};
	static const char license[sizeof(DEV_USER_VERSION)] = "GPL"; /* the module reads as much of both */
	char version[sizeof(DEV_USER_VERSION)] = DEV_USER_VERSION;
	long mib = 64, threads = 1, i;
	pthread_t *ids;
	sigset_t set;
	int opt, sig;

	while ((opt = getopt(argc, argv, "n:s:t:v:")) != -1) {
		switch (opt) {
		case 'n': snprintf(desc.name, sizeof(desc.name), "%s", optarg); break;
		case 's': mib = atol(optarg); break;
		case 't': threads = atol(optarg); break;
		case 'v': snprintf(version, sizeof(version), "%s", optarg); break;
		default: argc = 0;
		}
	}
	if (argc != optind + 1 || mib < 1 || mib > 1 << 20 || threads < 1 || threads > 1024) {
		fprintf(stderr, "usage: ram_handler [-n NAME] [-s MIB] [-t THREADS] [-v DEV_USER_VERSION] NODE\n");
		return 2;
	}
	desc.version_str = (uint64_t)(uintptr_t)version;
	desc.license_str = (uint64_t)(uintptr_t)license;
	blocks = (uint64_t)mib << 11;
	disk = mmap(NULL, blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ids = calloc(threads, sizeof(*ids));
	if (disk == MAP_FAILED || ids == NULL) {
		perror("ram_handler: no memory for the disk");
		return 1;
	}

	/* No thread takes a signal; main waits for those that end the program. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);

	node = open(argv[optind], O_RDWR | O_CLOEXEC);
	if (node < 0 || ioctl(node, SCST_USER_REGISTER_DEVICE, &desc) != 0) {
		fprintf(stderr, "ram_handler: register %s at %s: %s\n", desc.name, argv[optind], strerror(errno));
		return 1;
	}
	for (i = 0; i < threads; i++) {
		if ((errno = pthread_create(&ids[i], NULL, serve, NULL)) != 0) {
			perror("ram_handler: start a thread");
			return 1;
		}
	}
	printf("serving %ld MiB of memory as %s\n", mib, desc.name);
	fflush(stdout);

	/* The end: take idle buffers back while the threads still serve (R35), wake
	 * the threads (R15), let them give their replies, and close (R70). */
	sigwait(&set, &sig);
	if (sig != SIGUSR1)
		ioctl(node, SCST_USER_FLUSH_CACHE);
	stopping = 1;
	ioctl(node, SCST_USER_UNREGISTER_DEVICE);
	for (i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	free(ids);
	close(node);
	if (sig == SIGUSR1)
		fprintf(stderr, "ram_handler: the node is gone: %s\n", lost ? strerror(lost) : "its host has let the device go");
	return sig == SIGUSR1;
}
