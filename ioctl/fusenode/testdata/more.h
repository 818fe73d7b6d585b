/* Rules of registration, options, replies and buffers that the tests in rules.c
 * do not have, with the session of session.h where a command is needed. */
static void r1_r2_r3_abi(void)
{
	CHECK(SCST_USER_REGISTER_DEVICE == 0x40A07501 && SCST_USER_REPLY_AND_GET_CMD == 0xC2207505 &&
		SCST_USER_REPLY_CMD == 0x40387506 && SCST_USER_REPLY_AND_GET_MULTI == 0xC010750B, "ioctl numbers");
	CHECK(SCST_USER_EXEC == 0xC0687303 && SCST_USER_PARSE == 0xC0507301 && SCST_USER_ATTACH_SESS == 0x82187320 &&
		SCST_USER_TASK_MGMT_DONE == 0xC0187309, "subcodes");
	CHECK(sizeof(struct scst_user_get_cmd) == 544 && sizeof(struct scst_user_reply_cmd) == 56 &&
		sizeof(struct scst_user_dev_desc) == 160 && sizeof(struct scst_user_opt) == 20, "sizes");
}

/* Only the payload of the subcommand is copied out. */
static void r4_payload_only(void)
{
	int fd = session("r4", NULL);
	struct scst_user_get_cmd c;
	uint8_t *raw = (uint8_t *)&c;
	size_t end = 8 + sizeof(struct scst_user_scsi_cmd_exec);
	submit_read(1, SIMPLE);
	do {
		memset(&c, 0xa5, sizeof(c));
		c.preply = 0;
	} while (ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, &c) && errno == EAGAIN);
	CHECK(c.subcode == SCST_USER_EXEC, "%#x", c.subcode);
	for (size_t i = end; i < sizeof(c); i++)
		CHECK(raw[i] == 0xa5, "byte %zu was written", i);
	reply(fd, &c);
	ends(1, 0, 0);
	close(fd);
}

static void r8_r12_r13_r20_refused(void)
{
	static const uint32_t sizes[] = { 0, 1, 256, 511, 1000 };
	int fd = node(0);
	struct scst_user_dev_desc d;
	for (int i = 0; i < 5; i++) {
		describe(&d, "r8");
		d.block_size = sizes[i];
		FAILS(ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), EINVAL);
	}
	for (int i = 0; i < 6; i++) {
		describe(&d, "r8");
		uint8_t *o[] = { &d.opt.parse_type, &d.opt.on_free_cmd_type, &d.opt.memory_reuse_type, &d.opt.tst, &d.opt.qerr, &d.opt.tas };
		*o[i] = i == 4 ? 2 : 4;
		FAILS(ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), EINVAL);
	}
	CHECK(!reg(fd, "r8"), "the refusals left something"); /* R13 */
	close(fd);
}

static void r11_long_names(void)
{
	int fd = node(0);
	struct scst_user_dev_desc d;
	describe(&d, "");
	memset(d.name, 'n', sizeof(d.name));
	CHECK(!ioctl(fd, SCST_USER_REGISTER_DEVICE, &d), "register");
	d.name[48] = 0; /* fact 6 */
	CHECK(!access(path("devices/%s", d.name), F_OK), "not under the cut name");
	CHECK(!access(path("sgv/%s-clust", d.name), F_OK), "no clustered pool");
	close(fd);
}

static void r15_unregister(void)
{
	struct getter g = { .fd = node(0) };
	struct scst_user_opt o;
	CHECK(!reg(g.fd, "r15"), "register");
	pthread_t t = spawn(get_run, (long)&g);
	blocked(&g);
	CHECK(!g.over, "the get did not wait");
	CHECK(!ioctl(g.fd, SCST_USER_UNREGISTER_DEVICE), "unregister");
	pthread_join(t, NULL);
	CHECK(g.rc == -1 && g.err == EAGAIN, "%d %d", g.rc, g.err);
	CHECK(!ioctl(g.fd, SCST_USER_GET_OPTIONS, &o), "not usable any more");
	close(g.fd);
}

static void r16_r18_r19_r21_options(void)
{
	int fd = session("r16", NULL);
	struct scst_user_get_cmd c;
	struct scst_user_opt o, p;
	CHECK(!ioctl(fd, SCST_USER_GET_OPTIONS, &o), "get");
	o.parse_type = SCST_USER_PARSE_CALL, o.partial_transfers_type = 2, o.partial_len = -1, o.d_sense = 1;
	CHECK(!ioctl(fd, SCST_USER_SET_OPTIONS, &o), "set");
	CHECK(!ioctl(fd, SCST_USER_GET_OPTIONS, &p) && !memcmp(&o, &p, sizeof(o)), "other options");
	o.tst = 0;
	FAILS(ioctl(fd, SCST_USER_SET_OPTIONS, &o), EINVAL); /* R19: there is a session */
	submit_read(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_PARSE); /* R18 */
	close(fd);
}

/* A reply that is refused keeps the get from happening. */
static void r23_reply_first(void)
{
	int fd = session("r23", NULL);
	struct scst_user_get_cmd c, again = { 0 };
	struct scst_user_reply_cmd r = { .cmd_h = 4711, .subcode = SCST_USER_EXEC };
	submit_read(1, SIMPLE);
	nap(50);
	again.preply = ADDR(&r);
	FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, &again), ESRCH);
	wait_for(fd, &c, SCST_USER_EXEC);
	answer(&c, &r);
	again.preply = ADDR(&r);
	FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, &again), EAGAIN); /* it is consumed all the same */
	ends(1, 0, 0);
	close(fd);
}

static void r29_r30_counts(void)
{
	int fd = session("r29", NULL);
	struct scst_user_get_multi *m = calloc(1, sizeof(*m) + 8 * sizeof(m->cmds[0]));
	struct scst_user_reply_cmd r = { .cmd_h = 4711, .subcode = SCST_USER_EXEC };
	m->replies_cnt = -3, m->cmds_cnt = -3, m->replies_done = 7;
	CHECK(!ioctl(fd, SCST_USER_REPLY_AND_GET_MULTI, m) && m->cmds_cnt == 0 && m->replies_done == 0, "%d %d", m->cmds_cnt, m->replies_done);
	m->replies_cnt = 0, m->cmds_cnt = 8;
	FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_MULTI, m), EAGAIN);
	CHECK(m->cmds_cnt == 0, "%d", m->cmds_cnt);
	submit_read(1, SIMPLE), submit_read(2, SIMPLE);
	nap(50);
	m->preplies = ADDR(&r), m->replies_cnt = 1, m->cmds_cnt = 8, m->replies_done = 7;
	FAILS(ioctl(fd, SCST_USER_REPLY_AND_GET_MULTI, m), ESRCH);
	CHECK(m->replies_done == 0 && m->cmds_cnt == 0, "%d %d", m->replies_done, m->cmds_cnt); /* R30 */
	m->replies_cnt = 0, m->cmds_cnt = 8;
	CHECK(!ioctl(fd, SCST_USER_REPLY_AND_GET_MULTI, m) && m->cmds_cnt == 2, "%d", m->cmds_cnt);
	reply(fd, &m->cmds[0]), reply(fd, &m->cmds[1]);
	ends(1, 0, 0), ends(2, 0, 0);
	close(fd);
}

static void r35_r36_r53_r63_cache(void)
{
	int fd = session("r35", NULL);
	struct scst_user_get_cmd c;
	submit_write(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_ALLOC_MEM);
	uint32_t owner = c.cmd_h;
	reply(fd, &c);
	wait_for(fd, &c, SCST_USER_EXEC);
	uint64_t buf = c.exec_cmd.pbuf;
	submit_write(2, SIMPLE);
	wait_for(fd, &c, SCST_USER_ALLOC_MEM); /* R53: the other one is busy */
	c.alloc_cmd.alloc_len = 4096;
	struct scst_user_reply_cmd r = { .cmd_h = c.cmd_h, .subcode = c.subcode }; /* R52: no memory */
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	ends(2, 0x28, 0);
	r.cmd_h = owner, r.subcode = SCST_USER_EXEC, r.exec_reply.reply_type = SCST_EXEC_REPLY_COMPLETED;
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	ends(1, 0, 0);
	submit_write(3, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	CHECK(c.exec_cmd.pbuf == buf, "not reused");
	reply(fd, &c);
	ends(3, 0, 0);
	CHECK(!ioctl(fd, SCST_USER_DEVICE_CAPACITY_CHANGED), "capacity changed"); /* R36 */
	CHECK(!ioctl(fd, SCST_USER_FLUSH_CACHE), "flush");
	wait_for(fd, &c, SCST_USER_ON_CACHED_MEM_FREE);
	CHECK(c.cmd_h == owner && c.on_cached_mem_free.pbuf == buf, "%u", c.cmd_h);
	reply(fd, &c);
	nothing(fd);
	close(fd);
}

static void r37_extended_cdb(void)
{
	int fd = session("r37", NULL);
	struct scst_user_get_cmd c;
	struct scst_user_get_ext_cdb x = { .cmd_h = 4711 };
	FAILS(ioctl(fd, SCST_USER_GET_EXTENDED_CDB, &x), ESRCH);
	submit_read(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	x.cmd_h = c.cmd_h;
	CHECK(!ioctl(fd, SCST_USER_GET_EXTENDED_CDB, &x), "a CDB of 16 bytes");
	reply(fd, &c);
	ends(1, 0, 0);
	FAILS(ioctl(fd, SCST_USER_GET_EXTENDED_CDB, &x), EINVAL);
	close(fd);
}

static void r40_refused(void)
{
	int fd = node(O_NONBLOCK);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r = { 0 };
	long ok;
	CHECK(!reg(fd, "r40"), "register");
	say("attach r40");
	wait_for(fd, &c, SCST_USER_ATTACH_SESS);
	r.cmd_h = c.cmd_h, r.subcode = c.subcode, r.result = -12;
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	say("attached");
	hear(&ok, 1);
	CHECK(!ok, "attached");
	nothing(fd); /* no DETACH_SESS (fact 47) */
	close(fd);
}

static void r42_r70_r72_close(void)
{
	int fd = node(O_NONBLOCK);
	struct scst_user_get_cmd c;
	long ok;
	CHECK(!reg(fd, "r42"), "register");
	say("attach r42");
	wait_for(fd, &c, SCST_USER_ATTACH_SESS);
	close(fd);
	say("attached");
	hear(&ok, 1);
	CHECK(!ok, "attached");
	fd = session("r42", NULL); /* R72: the name is free */
	submit_read(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	close(fd);
	ends(1, 2, LUN_GONE);
}

static void r41_detach(void)
{
	int fd = session("r41", NULL);
	struct scst_user_get_cmd c;
	submit_read(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	say("detach");
	nothing(fd); /* a command is outstanding */
	reply(fd, &c);
	wait_for(fd, &c, SCST_USER_DETACH_SESS);
	CHECK(c.sess.sess_h && !c.sess.initiator_name[0] && !c.sess.lun, "%s", c.sess.initiator_name);
	reply(fd, &c);
	close(fd);
}

static void r46_r47_parse_status(void)
{
	int fd = session("r46", parse_call);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r = { 0 };
	submit_read(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_PARSE);
	r.cmd_h = c.cmd_h, r.subcode = c.subcode;
	r.parse_reply.status = 2, r.parse_reply.sense_len = sizeof(bad_op), r.parse_reply.psense_buffer = ADDR(bad_op);
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	ends(1, 2, 0x052000);
	submit_read(2, SIMPLE);
	wait_for(fd, &c, SCST_USER_PARSE);
	r.cmd_h = c.cmd_h, r.parse_reply.psense_buffer = 8;
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EFAULT);
	ends(2, 2, 0x0b4400);
	say("submit 3 1 0 88 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"); /* no blocks: R47 */
	wait_for(fd, &c, SCST_USER_PARSE);
	memset(&r, 0, sizeof(r));
	r.cmd_h = c.cmd_h, r.subcode = c.subcode;
	r.parse_reply.queue_type = SIMPLE, r.parse_reply.data_direction = 4, r.parse_reply.op_flags = c.parse_cmd.op_flags;
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	wait_for(fd, &c, SCST_USER_EXEC);
	CHECK(c.exec_cmd.data_direction == 4 && !c.exec_cmd.pbuf && !c.exec_cmd.alloc_len, "%d", c.exec_cmd.data_direction);
	reply(fd, &c);
	ends(3, 0, 0);
	close(fd);
}

static void r51_unaligned(void)
{
	for (int reuse = 0; reuse < 2; reuse++) {
		int fd = session(reuse ? "r51" : "r51n", reuse ? NULL : no_reuse);
		struct scst_user_get_cmd c;
		struct scst_user_reply_cmd r;
		submit_write(1, SIMPLE);
		wait_for(fd, &c, SCST_USER_ALLOC_MEM);
		answer(&c, &r);
		r.alloc_reply.pbuf = ADDR((char *)pages(2 * PAGE) + 16);
		if (reuse) {
			FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL);
			ends(1, 2, HARDWARE_ERROR);
		} else {
			CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
			wait_for(fd, &c, SCST_USER_EXEC);
			CHECK(c.exec_cmd.pbuf == r.alloc_reply.pbuf, "another buffer");
			CHECK(*(char *)(uintptr_t)c.exec_cmd.pbuf == 'w', "the data is not there");
			reply(fd, &c);
			ends(1, 0, 0);
		}
		close(fd);
	}
}

static void r55_r56_r57_r58_exec(void)
{
	int fd = session("r57", NULL);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	submit_read(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	CHECK(c.exec_cmd.timeout > 0 && !c.exec_cmd.partial && !c.exec_cmd.pbuf && c.exec_cmd.alloc_len == 4096, "EXEC");
	answer(&c, &r);
	r.exec_reply.resp_data_len = 4097;
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL);
	ends(1, 2, 0x0b4400);
	submit_read(2, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	answer(&c, &r);
	r.exec_reply.pbuf = 0; /* R56: data, and no buffer */
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	ends(2, 8, 0);
	submit_read(3, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	answer(&c, &r);
	r.exec_reply.resp_data_len = 0, r.exec_reply.status = 2; /* R58 */
	r.exec_reply.sense_len = sizeof(bad_op), r.exec_reply.psense_buffer = ADDR(bad_op);
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "reply");
	ends(3, 2, 0x052000);
	close(fd);
}

static void r59_background(void)
{
	int fd = session("r59", NULL);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	say("submit 1 1 0 91 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0");
	wait_for(fd, &c, SCST_USER_EXEC);
	answer(&c, &r);
	r.exec_reply.reply_type = SCST_EXEC_REPLY_BACKGROUND;
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "background");
	ends(1, 0, 0);
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL); /* only once */
	r.exec_reply.reply_type = SCST_EXEC_REPLY_COMPLETED;
	CHECK(!ioctl(fd, SCST_USER_REPLY_CMD, &r), "completed");
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), ESRCH);
	close(fd);
}

static void r60_write_same_elsewhere(void)
{
	int fd = session("r60", NULL);
	struct scst_user_get_cmd c;
	struct scst_user_reply_cmd r;
	submit_read(1, SIMPLE);
	wait_for(fd, &c, SCST_USER_EXEC);
	answer(&c, &r);
	r.exec_reply.reply_type = SCST_EXEC_REPLY_DO_WRITE_SAME, r.exec_reply.resp_data_len = 0;
	FAILS(ioctl(fd, SCST_USER_REPLY_CMD, &r), EINVAL);
	ends(1, 2, HARDWARE_ERROR);
	close(fd);
}

#define MORE_TESTS \
	{ "R1_R2_R3_abi", r1_r2_r3_abi }, { "R4_payload_only", r4_payload_only }, \
	{ "R8_R12_R13_R20_refused", r8_r12_r13_r20_refused }, { "R11_long_names", r11_long_names }, \
	{ "R15_unregister", r15_unregister }, { "R16_R18_R19_R21_options", r16_r18_r19_r21_options }, \
	{ "R23_reply_first", r23_reply_first }, { "R29_R30_counts", r29_r30_counts }, \
	{ "R35_R36_R53_R63_cache", r35_r36_r53_r63_cache }, { "R37_extended_cdb", r37_extended_cdb }, \
	{ "R40_refused", r40_refused }, { "R41_detach", r41_detach }, { "R42_R70_R72_close", r42_r70_r72_close }, \
	{ "R46_R47_parse_status", r46_r47_parse_status }, { "R51_unaligned", r51_unaligned }, \
	{ "R55_R56_R57_R58_exec", r55_r56_r57_r58_exec }, { "R59_background", r59_background }, \
	{ "R60_write_same_elsewhere", r60_write_same_elsewhere }
