/* SPDX-License-Identifier: Apache-2.0
 *
 * A handler whose commands all end with GOOD and, if they read, with zeros. It
 * registers the disk that the module's recordings have. Arguments: the version
 * of the interface, the node.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "scst_user_abi.h"

int main(int argc, char **argv)
{
	struct scst_user_dev_desc desc = { .block_size = 512, .name = "disk1", .opt = {
		.on_free_cmd_type = 1, .memory_reuse_type = 3, .tst = 1, .queue_alg = 1, .ext_copy_remap_supported = 1 } };
	struct scst_user_reply_cmd reply;
	struct scst_user_get_cmd get;
	int fd = argc == 3 ? open(argv[2], O_RDWR) : -1;

	desc.version_str = (uintptr_t)argv[1];
	desc.license_str = (uintptr_t)"GPL";
	if (fd < 0 || ioctl(fd, SCST_USER_REGISTER_DEVICE, &desc) != 0) {
		perror("usage: blank VERSION NODE");
		return 1;
	}
	memset(&get, 0, sizeof(get));
	while (ioctl(fd, SCST_USER_REPLY_AND_GET_CMD, &get) == 0) {
		memset(&reply, 0, sizeof(reply));
		reply.cmd_h = get.cmd_h;
		reply.subcode = get.subcode;
		if (get.subcode == SCST_USER_ALLOC_MEM) {
			reply.alloc_reply.pbuf = (uintptr_t)aligned_alloc(4096, get.alloc_cmd.alloc_len);
		} else if (get.subcode == SCST_USER_EXEC) {
			reply.exec_reply.reply_type = 1;
			if (get.exec_cmd.data_direction == 2) {
				reply.exec_reply.resp_data_len = get.exec_cmd.bufflen;
				if (!get.exec_cmd.pbuf) {
					void *p = aligned_alloc(4096, get.exec_cmd.alloc_len);
					memset(p, 0, get.exec_cmd.alloc_len);
					reply.exec_reply.pbuf = (uintptr_t)p;
				}
			}
		}
		memset(&get, 0, sizeof(get));
		get.preply = (uintptr_t)&reply;
	}
	perror("REPLY_AND_GET_CMD");
	return 1;
}
