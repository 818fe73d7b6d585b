package nbd

import "scstuser/scsi"

// contiguous returns the runs that follow each other from lba on, of those that
// a device has answered.
func contiguous(runs []scsi.LBAStatus, lba uint64) []scsi.LBAStatus {
	next := lba
	for i := range runs {
		s := &runs[i]
		end := s.LBA + uint64(s.Blocks)
		if s.LBA > next || end <= next || end < s.LBA {
			return runs[:i]
		}
		s.Blocks -= uint32(next - s.LBA)
		s.LBA = next
		next = end
	}
	return runs
}

// cutTo cuts runs, which begin at lba, to n blocks, and fills up what is missing
// with data.
func cutTo(runs []scsi.LBAStatus, lba, n uint64) []scsi.LBAStatus {
	next, end := lba, lba+n
	for i := range runs {
		s := &runs[i]
		if next = s.LBA + uint64(s.Blocks); next >= end {
			s.Blocks = uint32(end - s.LBA)
			return runs[:i+1]
		}
	}
	return append(runs, scsi.LBAStatus{LBA: next, Blocks: uint32(end - next), Status: scsi.LBAMapped})
}

// hasHoles says whether any of the runs need not be read.
func hasHoles(runs []scsi.LBAStatus) bool {
	for _, s := range runs {
		if s.Status != scsi.LBAMapped {
			return true
		}
	}
	return false
}
