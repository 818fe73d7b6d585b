package fileio

import "golang.org/x/sys/unix"

// foreign are the file systems behind which there is a program or another
// machine. Two things are different with them:
//
//   - A plain write may wait for that other one, for as long as it likes, where
//     a disk's file system copies to the page cache: no write is tried inline.
//   - RWF_DSYNC may mean nothing: FUSE hands it on to its program, of which few
//     look at it, and answers as if it had been heeded. fdatasync they all know,
//     so a durable write is a write and an fdatasync (invariant I6).
var foreign = map[uint32]bool{
	unix.FUSE_SUPER_MAGIC: true,
	unix.V9FS_MAGIC:       true,
	unix.NFS_SUPER_MAGIC:  true,
	unix.SMB_SUPER_MAGIC:  true,
	unix.CIFS_SUPER_MAGIC: true,
	unix.SMB2_SUPER_MAGIC: true,
	unix.CEPH_SUPER_MAGIC: true,
	unix.AFS_SUPER_MAGIC:  true,
	unix.AFS_FS_MAGIC:     true,
	unix.CODA_SUPER_MAGIC: true,
}
