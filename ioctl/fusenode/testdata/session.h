/* hear reads n numbers that the test says. */
static void hear(long *v, int n)
{
	for (int i = 0; i < n; i++)
		CHECK(scanf("%ld", &v[i]) == 1, "the test says nothing");
}

/* Rules that need an initiator with task attributes, task management and slow
 * answers: it is in the host's process and does what this program prints, line
 * by line (internal/initiator says which lines there are). Each line is answered
 * when it has been done, with 1 and what is asked for.
 */
static void say(const char *fmt, ...)
{
	va_list a;
	va_start(a, fmt);
	vprintf(fmt, a);
	va_end(a);
	putchar('\n');
	fflush(stdout);
	long done;
	hear(&done, 1);
	CHECK(done == 1, "this can't be done: %s", fmt);
}

/* wait_for fetches a subcommand that must come, at a non-blocking node. */
static void wait_for(int fd, struct scst_user_get_cmd *c, uint32_t want)
{
	double end = now() + 10;
	for (;;) {
		memset(c, 0, sizeof(*c));
		if (!ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, c))
			break;
		CHECK(errno == EAGAIN && now() < end, "waiting for %#x", want);
	}
	CHECK(c->subcode == want, "got %#x, want %#x", c->subcode, want);
}

/* nothing checks that no subcommand comes for a while. */
static void nothing(int fd)
{
	struct scst_user_get_cmd c;
	for (double end = now() + 0.05; now() < end;) {
		c.preply = 0;
		FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, &c), EAGAIN);
	}
}

/* session registers name and has the test attach to it. */
static int session(const char *name, void (*change)(struct scst_user_dev_desc *))
{
	struct scst_user_get_cmd c;
	struct scst_user_dev_desc d;
	int fd = node(O_NONBLOCK);
	long ok;
	describe(&d, name);
	if (change)
		change(&d);
	CHECK(!ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), "register");
	say("attach %s", name);
	wait_for(fd, &c, SCST_USER_ATTACH_SESS);
	CHECK(c.cmd_h == 0, "the first handle is %u", c.cmd_h); /* fact 9 */
	CHECK(c.sess.sess_h && c.sess.lun == 7 && c.sess.rd_only == 0 && !strcmp(c.sess.initiator_name, "test") &&
		!strcmp(c.sess.target_name, "target"), "%s %s", c.sess.initiator_name, c.sess.target_name); /* R39 */
	reply(fd, &c);
	say("attached");
	hear(&ok, 1);
	CHECK(ok, "not attached");
	return fd;
}

#define SIMPLE 1
#define HEAD_OF_QUEUE 3
#define READ16 "88 0 0 0 0 0 0 0 0 0 0 0 0 8 0 0"
#define WRITE16 "8a 0 0 0 0 0 0 0 0 0 0 0 0 8 0 0"

static void submit_read(int id, int q) { say("submit %d %d 0 " READ16, id, q); }
static void submit_write(int id, int q) { say("submit %d %d 4096 " WRITE16, id, q); }

/* ends checks a command's outcome; sense is key, ASC and ASCQ as a number. */
static void ends(int id, long status, long sense)
{
	long v[6];
	say("outcome %d", id);
	hear(v, 6);
	CHECK(v[0] == status && (v[1] << 16 | v[2] << 8 | v[3]) == sense, "command %d: status %ld, %ld %ld %ld",
		id, v[0], v[1], v[2], v[3]);
}

static int over(int id)
{
	long v;
	say("over %d", id);
	hear(&v, 1);
	return v;
}

static void tm_over(int id, long want)
{
	long v;
	say("tmover %d", id);
	hear(&v, 1);
	CHECK(v == want, "function %d: %ld, want %ld", id, v, want);
}

#define LUN_GONE 0x052500
#define HARDWARE_ERROR 0x044400

static void r31_handles(void)
{
	int fd = session("r31", NULL);
	struct scst_user_get_cmd c, d;
	submit_read(1, SIMPLE);
	submit_read(2, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	wait_for(fd, &d, SCST_USER_EXEC);
	CHECK(c.cmd_h != d.cmd_h && c.cmd_h && d.cmd_h, "%u and %u live at once", c.cmd_h, d.cmd_h);
	reply(fd, &d);
	reply(fd, &c);
	uint32_t last = c.cmd_h > d.cmd_h ? c.cmd_h : d.cmd_h;
	ends(1, 0, 0), ends(2, 0, 0);
	submit_read(3, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	CHECK(c.cmd_h == last + 1, "%u follows %u", c.cmd_h, last);
	reply(fd, &c);
	ends(3, 0, 0);
	close(fd);
}

static void r32_order(void)
{
	int fd = session("r32", NULL);
	struct scst_user_get_cmd c;
	submit_read(1, SIMPLE);
	submit_write(2, SIMPLE);
	submit_write(3, SIMPLE);
	say("tm 1 2 0"); /* CLEAR ACA aborts nothing */
	nap(50); /* all have arrived */
	wait_for(fd, &c, SCST_USER_TASK_MGMT_RECEIVED);
	CHECK(c.tm_cmd.fn == 2, "%d", c.tm_cmd.fn);
	reply(fd, &c);
	wait_for(fd, &c, SCST_USER_TASK_MGMT_DONE); /* management before all others */
	reply(fd, &c);
	wait_for(fd, &c, SCST_USER_ALLOC_MEM);
	uint32_t latest = c.cmd_h;
	reply(fd, &c); /* its EXEC goes to the tail */
	wait_for(fd, &c, SCST_USER_ALLOC_MEM);
	CHECK(c.cmd_h < latest, "ALLOC_MEM %u after %u: not the latest first", c.cmd_h, latest);
	reply(fd, &c);
	wait_for(fd, &c, SCST_USER_EXEC);
	CHECK(c.exec_cmd.cdb[0] == 0x88, "%#x before the READ that was there first", c.exec_cmd.cdb[0]);
	reply(fd, &c);
	for (int i = 0; i < 2; i++) {
		wait_for(fd, &c, SCST_USER_EXEC);
		CHECK(c.exec_cmd.cdb[0] == 0x8a, "%#x", c.exec_cmd.cdb[0]);
		reply(fd, &c);
	}
	ends(1, 0, 0), ends(2, 0, 0), ends(3, 0, 0);
	tm_over(1, 0);
	close(fd);
}

/* What was aborted before it was fetched is not delivered, whatever it waits for. */
static void r33_r68_aborted_before_fetch(void)
{
	int fd = session("r33", NULL);
	struct scst_user_get_cmd c;
	submit_read(1, SIMPLE);
	submit_write(2, SIMPLE);
	nap(50);
	say("tm 1 1 0"); /* ABORT TASK SET */
	wait_for(fd, &c, SCST_USER_TASK_MGMT_RECEIVED);
	CHECK(c.tm_cmd.fn == 1 && c.tm_cmd.cmd_h_to_abort == 0 && !c.tm_cmd.cmd_sn_set, "%d", c.tm_cmd.fn);
	reply(fd, &c);
	wait_for(fd, &c, SCST_USER_TASK_MGMT_DONE);
	reply(fd, &c);
	nothing(fd);
	tm_over(1, 0);
	close(fd);
}

static void r34_sent_bit(void)
{
	int fd = session("r34", NULL);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	submit_write(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_ALLOC_MEM);
	answer(&c, &r);
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL); /* EXEC is ready, and was not fetched */
	r.subcode = SCST_USER_EXEC;
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL);
	uint32_t h = c.cmd_h;
	wait_for(fd, &c, SCST_USER_EXEC);
	CHECK(c.cmd_h == h, "%u, was %u", c.cmd_h, h);
	reply(fd, &c);
	ends(1, 0, 0);
	answer(&c, &r);
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL); /* it owns a cached buffer (fact 26) */
	close(fd);
}

static void parse_call(struct scst_user_dev_desc *d) { d->opt.parse_type = SCST_USER_PARSE_CALL; }

static void r43_r44_r48_parse(void)
{
	int fd = session("r48", parse_call);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	submit_read(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_PARSE);
	const struct scst_user_scsi_cmd_parse *p = &c.parse_cmd;
	CHECK(p->cdb[0] == 0x88 && p->cdb_len == 16 && p->queue_type == SIMPLE && p->bufflen == 8 && p->data_direction == 2,
		"%#x %d %d %d", p->cdb[0], p->cdb_len, p->queue_type, p->bufflen);
	memset(&r, 0, sizeof(r));
	r.cmd_h = c.cmd_h, r.subcode = c.subcode;
	r.parse_reply.queue_type = HEAD_OF_QUEUE; /* honoured before it is queued */
	r.parse_reply.data_direction = 2;
	r.parse_reply.cdb_len = 16;
	r.parse_reply.data_len = r.parse_reply.bufflen = 4096;
	r.parse_reply.op_flags = p->op_flags;
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	wait_for(fd, &c, SCST_USER_EXEC);
	CHECK(c.exec_cmd.queue_type == HEAD_OF_QUEUE, "queue type %d", c.exec_cmd.queue_type);
	reply(fd, &c);
	ends(1, 0, 0);
	submit_read(2, SIMPLE);
	wait_for(fd, &c, SCST_USER_PARSE);
	r.cmd_h = c.cmd_h, r.parse_reply.queue_type = 5;
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL); /* R45 */
	ends(2, 2, HARDWARE_ERROR);
	close(fd);
}

static void no_reuse(struct scst_user_dev_desc *d)
{
	d->opt.memory_reuse_type = SCST_USER_MEM_NO_REUSE;
	d->opt.on_free_cmd_type = SCST_USER_ON_FREE_CMD_CALL;
}

static void r50_alloc_len(void)
{
	static const struct { int blocks, cached; } x[] = { { 1, 4096 }, { 9, 8192 }, { 24, 16384 }, { 40, 32768 }, { 264, 262144 } };
	for (int reuse = 0; reuse < 2; reuse++) {
		int fd = session(reuse ? "r50" : "r50n", reuse ? NULL : no_reuse);
		struct scst_user_get_cmd c;
		for (int i = 0; i < 5; i++) {
			int len = x[i].blocks * 512;
			say("submit %d 1 %d 8a 0 0 0 0 0 0 0 0 0 0 0 %x %x 0 0", i, len, x[i].blocks >> 8, x[i].blocks & 255);
			wait_for(fd, &c, SCST_USER_ALLOC_MEM);
			CHECK(c.alloc_cmd.alloc_len == (reuse ? x[i].cached : len), "%d for %d", c.alloc_cmd.alloc_len, len);
			reply(fd, &c);
			wait_for(fd, &c, SCST_USER_EXEC);
			CHECK(c.exec_cmd.bufflen == len && c.exec_cmd.alloc_len == 0 && c.exec_cmd.pbuf, "%d", c.exec_cmd.bufflen);
			reply(fd, &c);
			if (!reuse) {
				wait_for(fd, &c, SCST_USER_ON_FREE_CMD); /* R61 */
				CHECK(!c.on_free_cmd.buffer_cached && c.on_free_cmd.pbuf, "cached");
				reply(fd, &c);
			}
			ends(i, 0, 0);
		}
		close(fd);
	}
}

static void r61_r64_on_free_follows_delivery(void)
{
	int fd = session("r64", no_reuse);
	struct scst_user_get_cmd c;
	say("hold 1 1 0 " READ16);
	wait_for(fd, &c, SCST_USER_EXEC);
	reply(fd, &c);
	uint32_t h = c.cmd_h;
	uint64_t buf = 0;
	while (!over(1))
		nap(1);
	nothing(fd); /* the target still uses the buffer */
	say("deliver 1");
	wait_for(fd, &c, SCST_USER_ON_FREE_CMD);
	buf = c.on_free_cmd.pbuf;
	CHECK(c.cmd_h == h && buf && c.on_free_cmd.resp_data_len == 4096 && c.on_free_cmd.delivery_status == 0, "%u", c.cmd_h);
	reply(fd, &c);
	ends(1, 0, 0);
	close(fd);
}

/* EXT_COPY_REMAP has no producer here. What can come is a reply to it. */
static void r65_reply_without_remap(void)
{
	int fd = session("r65", NULL);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r = { .cmd_h = 4711, .subcode = SCST_USER_EXT_COPY_REMAP };
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), ESRCH);
	submit_read(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	r.cmd_h = c.cmd_h;
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL);
	ends(1, 2, LUN_GONE);
	close(fd);
}

static void r66_r67_functions(void)
{
	int fd = session("r67", NULL);
	struct scst_user_get_cmd c, e;
	struct scst_user_reply_cmd r = { 0 };
	static const struct { int result, want; } x[] = { { 0, 0 }, { -1, 0 }, { -5, -5 }, { -255, -255 }, { -129, -129 } };
	for (int i = 0; i < 5; i++) {
		int fn = i == 4 ? 4 : i + 1;
		say("tm %d %d 0", i, fn);
		wait_for(fd, &c, SCST_USER_TASK_MGMT_RECEIVED);
		CHECK(c.tm_cmd.fn == fn && c.tm_cmd.cmd_h_to_abort == 0 && c.tm_cmd.sess_h, "fn %d, want %d", c.tm_cmd.fn, fn);
		r.cmd_h = c.cmd_h, r.subcode = c.subcode, r.result = -129; /* is ignored */
		CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
		wait_for(fd, &c, SCST_USER_TASK_MGMT_DONE);
		CHECK(c.tm_cmd.fn == fn, "fn %d, want %d", c.tm_cmd.fn, fn);
		r.cmd_h = c.cmd_h, r.subcode = c.subcode, r.result = x[i].result;
		CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
		tm_over(i, x[i].want);
	}
	submit_read(1, SIMPLE);
	wait_for(fd, &e, SCST_USER_EXEC);
	say("tm 9 0 1"); /* ABORT TASK of command 1 */
	wait_for(fd, &c, SCST_USER_TASK_MGMT_RECEIVED);
	CHECK(c.tm_cmd.fn == 0 && c.tm_cmd.cmd_h_to_abort == e.cmd_h, "aborts %u, want %u", c.tm_cmd.cmd_h_to_abort, e.cmd_h);
	reply(fd, &c);
	nothing(fd); /* R68: the handler has it still */
	reply(fd, &e);
	wait_for(fd, &c, SCST_USER_TASK_MGMT_DONE);
	CHECK(c.tm_cmd.cmd_h_to_abort == 0, "%u", c.tm_cmd.cmd_h_to_abort); /* fact 50 */
	reply(fd, &c);
	tm_over(9, 0);
	close(fd);
}

#define MAX_UCMDS 8 /* as session_test.go has it */

/* A device that has all the commands that it may have takes task management. */
static void r69_never_refused(void)
{
	int fd = session("r69", NULL);
	struct scst_user_get_cmd c, e[MAX_UCMDS];
	int n = 0;
	for (int i = 0; i < MAX_UCMDS; i++)
		submit_read(i, SIMPLE);
	submit_read(MAX_UCMDS, SIMPLE);
	ends(MAX_UCMDS, 0x28, 0); /* TASK SET FULL: there is no more room */
	while (n < MAX_UCMDS)
		wait_for(fd, &e[n++], SCST_USER_EXEC);
	say("tm 1 1 0");
	wait_for(fd, &c, SCST_USER_TASK_MGMT_RECEIVED);
	reply(fd, &c);
	for (int i = 0; i < n; i++)
		reply(fd, &e[i]);
	wait_for(fd, &c, SCST_USER_TASK_MGMT_DONE);
	reply(fd, &c);
	tm_over(1, 0);
	close(fd);
}

static void r73_listing(void)
{
	int fd = session("r73", NULL);
	struct scst_user_get_cmd c;
	char text[4096], want[256];
	submit_read(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	for (int sent = 1; sent >= 0; sent--) {
		int f = open(path("devices/%s/commands", "r73"), O_RDONLY);
		ssize_t k = f < 0 ? -1 : read(f, text, sizeof(text) - 1);
		CHECK(k > 0, "read commands");
		text[k] = 0;
		close(f);
		/* a READ that waits; then the owner of the buffer that it brought, idle */
		static const char form[] = "ucmd %16[0-9a-f] (state %x, ref %d), sent_to_user %d, seen_by_user %d, aborted %d, "
			"jammed %d, scst_cmd %16[0-9a-f]";
		char u[17], cmd[17];
		unsigned state;
		int v[5];
		CHECK(sscanf(text, form, u, &state, &v[0], &v[1], &v[2], &v[3], &v[4], cmd) == 8, "%s", text);
		snprintf(want, sizeof(want), "ucmd %s (state %x, ref 1), sent_to_user %d, seen_by_user 1, aborted 0, jammed 0, scst_cmd %s\n",
			u, sent ? 3 : 7, sent, cmd);
		CHECK(!strcmp(text, want), "\n%swant\n%s", text, want);
		CHECK(strlen(u) == 16 && strlen(cmd) == 16 && sent == !!strcmp(cmd, "0000000000000000"), "%s", text);
		if (sent) {
			reply(fd, &c);
			ends(1, 0, 0);
		}
	}
	close(fd);
}

#define SESSION_TESTS \
	{ "R31_handles", r31_handles }, { "R32_order", r32_order }, \
	{ "R33_R68_aborted_before_fetch", r33_r68_aborted_before_fetch }, { "R34_sent_bit", r34_sent_bit }, \
	{ "R39_R43_R44_R45_R48_parse", r43_r44_r48_parse }, { "R49_R50_alloc_len", r50_alloc_len }, \
	{ "R61_R64_on_free_follows_delivery", r61_r64_on_free_follows_delivery }, \
	{ "R65_reply_without_remap", r65_reply_without_remap }, { "R66_R67_R68_functions", r66_r67_functions }, \
	{ "R69_never_refused", r69_never_refused }, { "R73_listing", r73_listing }
