/* A handler that moves no data, for measurements: "handler NODE serve BATCH"
 * registers the device "bench" and answers up to BATCH commands per call;
 * "handler NODE roundtrip SECONDS" prints how many nanoseconds the smallest
 * ioctl takes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "scst_user_abi.h"

#define ADDR(p) ((uint64_t)(uintptr_t)(p))

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void *pages(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		exit(1);
	return p;
}

static void answer(const struct scst_user_get_cmd *c, struct scst_user_reply_cmd *r)
{
	memset(r, 0, sizeof(*r));
	r->cmd_h = c->cmd_h;
	r->subcode = c->subcode;
	if (c->subcode == SCST_USER_ALLOC_MEM)
		r->alloc_reply.pbuf = ADDR(pages(c->alloc_cmd.alloc_len));
	if (c->subcode != SCST_USER_EXEC)
		return;
	r->exec_reply.reply_type = SCST_EXEC_REPLY_COMPLETED;
	if (c->exec_cmd.data_direction == SCST_DATA_READ)
		r->exec_reply.resp_data_len = c->exec_cmd.bufflen;
	if (!c->exec_cmd.pbuf && c->exec_cmd.alloc_len)
		r->exec_reply.pbuf = ADDR(pages(c->exec_cmd.alloc_len));
}

int main(int argc, char **argv)
{
	struct scst_user_dev_desc d = { .version_str = ADDR(DEV_USER_VERSION), .license_str = ADDR("GPL"), .block_size = 512,
		.opt = { .on_free_cmd_type = SCST_USER_ON_FREE_CMD_IGNORE, .memory_reuse_type = SCST_USER_MEM_REUSE_ALL, .tst = 1, .queue_alg = 1 } };
	int fd, n = argc > 3 ? atoi(argv[3]) : 0;
	if (n <= 0 || n > 1024 || (fd = open(argv[1], O_RDWR)) < 0)
		return perror("open"), 2;
	strcpy(d.name, argv[2][0] == 's' ? "bench" : "roundtrip");
	if (ioctl(fd, SCST_USER_REGISTER_DEVICE, &d))
		return perror("register"), 2;
	if (argv[2][0] == 'r') {
		struct scst_user_opt o;
		double t0 = now(), t;
		long k = 0;
		do {
			for (int i = 0; i < 100; i++, k++)
				if (ioctl(fd, SCST_USER_GET_OPTIONS, &o))
					return perror("get options"), 1;
		} while ((t = now()) < t0 + n);
		printf("%.0f\n", (t - t0) / k * 1e9);
		return 0;
	}
	struct scst_user_get_multi *m = calloc(1, sizeof(*m) + n * sizeof(m->cmds[0]));
	struct scst_user_reply_cmd *r = calloc(n, sizeof(*r));
	for (;;) {
		m->preplies = ADDR(r);
		m->cmds_cnt = n;
		if (ioctl(fd, SCST_USER_REPLY_AND_GET_MULTI, m))
			return perror("multi"), 1;
		for (int i = 0; i < m->cmds_cnt; i++)
			answer(&m->cmds[i], &r[i]);
		m->replies_cnt = m->cmds_cnt;
	}
}
