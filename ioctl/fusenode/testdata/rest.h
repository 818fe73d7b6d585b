/* Rules about what does not come, and about what the host keeps to itself: seen
 * by what a handler program can see of them. Included by rules.c. */

/* with is the version with another character at one place, until it is called again. */
static const char *with(int at, char c)
{
	static char v[sizeof(DEV_USER_VERSION)];
	strcpy(v, DEV_USER_VERSION);
	v[at] = c;
	return v;
}

/* By default each version of the release may register (F9). */
static void r5_versions(void)
{
	struct scst_user_dev_desc d;
	int last = sizeof(DEV_USER_VERSION) - 2, fd = node(0);
	describe(&d, "r5");
	const char *bad[] = { with(0, '4'), "", "3.11.0-pre", DEV_USER_VERSION "0" };
	for (int i = 0; i < 3; i++) {
		d.version_str = ADDR(bad[i]);
		FAILS(ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), EINVAL);
	}
	d.version_str = ADDR(with(last, 'x')); /* is no sum */
	FAILS(ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), EINVAL);
	d.version_str = ADDR(with(last, DEV_USER_VERSION[last] == '0' ? '1' : '0')); /* an edited header */
	CHECK(!ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), "register");
	close(fd);
	fd = node(0);
	describe(&d, "r5cut");
	d.version_str = ADDR(bad[3]); /* cut (fact 2) */
	CHECK(!ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), "register");
	close(fd);
}

/* At a host with a list of versions only those may register. */
static void r5_exact(void)
{
	struct scst_user_dev_desc d;
	int last = sizeof(DEV_USER_VERSION) - 2, fd = node(0);
	describe(&d, "r5");
	d.version_str = ADDR(with(last, DEV_USER_VERSION[last] == '0' ? '1' : '0'));
	FAILS(ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), EINVAL);
	CHECK(!reg(fd, "r5"), "register");
	close(fd);
}

/* listing reads the list of commands. */
static const char *listing(const char *name)
{
	static char text[4096];
	int f = open(path("devices/%s/commands", name), O_RDONLY);
	ssize_t k = f < 0 ? -1 : read(f, text, sizeof(text) - 1);
	CHECK(k >= 0, "read commands");
	text[k] = 0;
	close(f);
	return text;
}

/* listed says whether the list has a ucmd in this state that was sent to the handler. */
static int listed(const char *name, unsigned state)
{
	char form[32];
	snprintf(form, sizeof(form), "(state %x, ref ", state);
	const char *p = strstr(listing(name), form);
	return p && !strncmp(strchr(p, ')'), "), sent_to_user 1", 17);
}

/* exec_of fetches an EXEC, and gives it a buffer if there is none idle. */
static void exec_of(int fd, struct scst_user_get_cmd *c)
{
	for (;;) {
		memset(c, 0, sizeof(*c));
		if (ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, c)) {
			CHECK(errno == EAGAIN, "get");
			continue;
		}
		if (c->subcode == SCST_USER_EXEC)
			return;
		CHECK(c->subcode == SCST_USER_ALLOC_MEM, "%#x", c->subcode);
		reply(fd, c);
	}
}

static void on_free_ignore(struct scst_user_dev_desc *d) { d->opt.memory_reuse_type = SCST_USER_MEM_NO_REUSE; }

static void r22_no_on_free(void)
{
	int fd = session("r22", on_free_ignore);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	submit_write(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_ALLOC_MEM);
	reply(fd, &c);
	wait_for(fd, &c, SCST_USER_EXEC);
	reply(fd, &c);
	ends(1, 0, 0);
	submit_read(2, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	answer(&c, &r);
	r.exec_reply.status = 2, r.exec_reply.resp_data_len = 0;
	r.exec_reply.sense_len = sizeof(bad_op), r.exec_reply.psense_buffer = ADDR(bad_op);
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	ends(2, 2, 0x052000);
	nothing(fd);
	CHECK(!*listing("r22"), "%s", listing("r22")); /* completed internally: nothing is left */
	close(fd);
}

static void on_free_call(struct scst_user_dev_desc *d) { d->opt.on_free_cmd_type = SCST_USER_ON_FREE_CMD_CALL; }

/* owed checks that a subcommand is the handler's until it is answered. */
static void owed(int fd, const char *name, uint32_t subcode, struct scst_user_get_cmd *c)
{
	unsigned state = subcode & 255;
	wait_for(fd, c, subcode);
	nap(20);
	CHECK(listed(name, state), "no state %x:\n%s", state, listing(name));
	reply(fd, c);
	CHECK(!listed(name, state), "state %x was answered:\n%s", state, listing(name));
}

static void r26_every_one_is_owed(void)
{
	int fd = session("r26", on_free_call);
	struct scst_user_get_cmd c;
	submit_write(1, SIMPLE);
	owed(fd, "r26", SCST_USER_ALLOC_MEM, &c);
	owed(fd, "r26", SCST_USER_EXEC, &c);
	ends(1, 0, 0);
	owed(fd, "r26", SCST_USER_ON_FREE_CMD, &c);
	CHECK(!ioctl(fd, SCST_USER_FLUSH_CACHE), "flush");
	owed(fd, "r26", SCST_USER_ON_CACHED_MEM_FREE, &c);
	say("tm 1 2 0");
	owed(fd, "r26", SCST_USER_TASK_MGMT_RECEIVED, &c);
	owed(fd, "r26", SCST_USER_TASK_MGMT_DONE, &c);
	tm_over(1, 0);
	say("detach");
	owed(fd, "r26", SCST_USER_DETACH_SESS, &c);
	close(fd);
}

static void r36_capacity_event(void)
{
	int fd = session("r36", NULL);
	long v[3];
	CHECK(!ioctl(fd, SCST_USER_DEVICE_CAPACITY_CHANGED), "capacity changed");
	say("events 1"); /* the first one was POWER ON */
	hear(v, 3);
	CHECK(v[0] == 6 && v[1] == 0x2a && v[2] == 9, "%ld %ld %ld", v[0], v[1], v[2]);
	nothing(fd); /* the handler is asked nothing */
	close(fd);
}

static void r37_long_cdb(void)
{
	int fd = session("r37l", parse_call);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r = { 0 };
	uint8_t ext[20];
	struct scst_user_get_ext_cdb x = { .ext_cdb_buffer = ADDR(ext) };
	say("submit 1 1 0 c1 1 2 3 4 5 6 7 8 9 a b c d e f 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f");
	wait_for(fd, &c, SCST_USER_PARSE);
	CHECK(c.parse_cmd.cdb_len == 32 && c.parse_cmd.cdb[15] == 15, "%d", c.parse_cmd.cdb_len);
	memset(ext, 0xa5, sizeof(ext));
	x.cmd_h = c.cmd_h;
	CHECK(!ioctl(fd, SCST_USER_GET_EXTENDED_CDB, &x), "get");
	for (int i = 0; i < 20; i++)
		CHECK(ext[i] == (i < 16 ? 16 + i : 0xa5), "byte %d is %#x", i, ext[i]);
	x.ext_cdb_buffer = 8;
	FAILS(ioctl(fd, SCST_USER_GET_EXTENDED_CDB, &x), EFAULT);
	r.cmd_h = c.cmd_h, r.subcode = c.subcode;
	r.parse_reply.queue_type = SIMPLE, r.parse_reply.data_direction = 4, r.parse_reply.op_flags = 0x20;
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	wait_for(fd, &c, SCST_USER_EXEC);
	CHECK(c.exec_cmd.cdb[0] == 0xc1 && c.exec_cmd.cdb_len == 32, "%#x", c.exec_cmd.cdb[0]);
	memset(&r, 0, sizeof(r));
	r.cmd_h = c.cmd_h, r.subcode = c.subcode, r.exec_reply.reply_type = SCST_EXEC_REPLY_COMPLETED;
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	ends(1, 0, 0);
	close(fd);
}

#define WRITE_SAME "93 0 0 0 0 0 0 0 0 10 0 0 0 8 0 0" /* 8 blocks at 16 */

/* The target writes what a WRITE SAME says, or the reply's ranges of it. */
static void r60_write_same(void)
{
	static const struct scst_user_data_descriptor some[] = { { 16, 2 }, { 20, 1 }, { 0, 0 } };
	int fd = session("r60w", NULL);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	for (int way = 0; way < 2; way++) {
		memset(disk, 0, DISK);
		say("submit %d 1 512 " WRITE_SAME, way);
		exec_of(fd, &c);
		CHECK(c.exec_cmd.cdb[0] == 0x93 && c.exec_cmd.bufflen == 512 && c.exec_cmd.data_len == 4096, "%d", c.exec_cmd.bufflen);
		memset(&r, 0, sizeof(r));
		r.cmd_h = c.cmd_h, r.subcode = c.subcode, r.exec_reply.reply_type = SCST_EXEC_REPLY_DO_WRITE_SAME;
		if (way)
			r.exec_reply.ws_descriptors = ADDR(some), r.exec_reply.ws_descriptors_len = sizeof(some);
		CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
		for (double end = now() + 10; !over(way) && now() < end;) { /* WRITEs of the target's own */
			memset(&c, 0, sizeof(c));
			if (!ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, &c))
				reply(fd, &c);
		}
		ends(way, 0, 0);
		for (int b = 0; b < 32; b++) {
			int written = way ? b == 16 || b == 17 || b == 20 : b >= 16 && b < 24;
			CHECK(disk[b * 512] == (written ? 'w' : 0) && disk[b * 512 + 511] == disk[b * 512], "way %d, block %d", way, b);
		}
	}
	close(fd);
}

/* bad lists end the command; errno and sense as the rule says. */
static void r60_bad_lists(void)
{
	static const struct scst_user_data_descriptor open_end[] = { { 16, 2 }, { 20, 1 } };
	static const struct { int len, err; } x[] = { { 24, EINVAL }, { 32, EINVAL }, { 4112, EOVERFLOW } };
	int fd = session("r60b", NULL);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	for (int i = 0; i < 4; i++) {
		say("submit %d 1 512 " WRITE_SAME, i);
		exec_of(fd, &c);
		memset(&r, 0, sizeof(r));
		r.cmd_h = c.cmd_h, r.subcode = c.subcode, r.exec_reply.reply_type = SCST_EXEC_REPLY_DO_WRITE_SAME;
		r.exec_reply.ws_descriptors = ADDR(open_end);
		if (i < 3)
			r.exec_reply.ws_descriptors_len = x[i].len;
		else
			r.exec_reply.status = 2;
		FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), i < 3 ? x[i].err : EINVAL);
		ends(i, 2, HARDWARE_ERROR);
	}
	close(fd);
}

/* What the handler never saw it is not told the end of. */
static void r62_never_seen(void)
{
	int fd = session("r62", on_free_call);
	struct scst_user_get_cmd c;
	submit_read(1, SIMPLE);
	nap(50);
	say("tm 1 1 0"); /* ABORT TASK SET, before it is fetched */
	wait_for(fd, &c, SCST_USER_TASK_MGMT_RECEIVED);
	reply(fd, &c);
	wait_for(fd, &c, SCST_USER_TASK_MGMT_DONE);
	reply(fd, &c);
	tm_over(1, 0);
	nothing(fd);
	CHECK(!*listing("r62"), "%s", listing("r62"));
	submit_read(2, SIMPLE); /* one that it does see */
	wait_for(fd, &c, SCST_USER_EXEC);
	reply(fd, &c);
	wait_for(fd, &c, SCST_USER_ON_FREE_CMD);
	reply(fd, &c);
	ends(2, 0, 0);
	close(fd);
}

/* A release ends, whatever is idle in the pools and whatever the handler has:
 * nothing is left, and the name and its pools are new. */
static void r71_release(void)
{
	static void (*const kinds[])(struct scst_user_dev_desc *) = { NULL, on_free_call, no_reuse, on_free_ignore };
	for (int i = 0; i < 4; i++) {
		int fd = session("r71", kinds[i]);
		struct scst_user_get_cmd c;
		long left;
		/* An idle buffer, and commands that bring theirs with them when they
		 * are ended: these are cached after the flush at the beginning. */
		for (int k = 1; k <= 4; k++) {
			submit_write(k, SIMPLE);
			exec_of(fd, &c);
			if (k > 1)
				continue;
			reply(fd, &c);
			ends(k, 0, 0);
			if (i == 1 || i == 2) {
				wait_for(fd, &c, SCST_USER_ON_FREE_CMD);
				reply(fd, &c);
			}
		}
		CHECK(!access(path("sgv/%s", "r71"), F_OK), "no pool");
		double t0 = now();
		close(fd);
		for (int k = 2; k <= 4; k++)
			ends(k, 2, LUN_GONE);
		say("released");
		hear(&left, 1);
		CHECK(left == 0, "kind %d: %ld ucmds were left", i, left);
		CHECK(gone("r71", 1000) && now() - t0 < 10, "kind %d: still there", i);
		CHECK(access(path("sgv/%s", "r71"), F_OK), "kind %d: its pool is still there", i);
	}
}

#define REST_TESTS \
	{ "R22_no_on_free", r22_no_on_free }, { "R26_every_one_is_owed", r26_every_one_is_owed }, \
	{ "R36_capacity_event", r36_capacity_event }, { "R37_long_cdb", r37_long_cdb }, \
	{ "R60_write_same", r60_write_same }, { "R60_bad_lists", r60_bad_lists }, \
	{ "R62_never_seen", r62_never_seen }, { "R71_release", r71_release }
