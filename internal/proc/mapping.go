package proc

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// MappingFlags returns the flags (VmFlags of proc_pid_smaps(5)) of the mapping of
// this process that holds an address.
func MappingFlags(addr uint64) (string, error) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return "", err
	}
	defer f.Close()
	here := false
	s := bufio.NewScanner(f)
	for s.Scan() {
		var from, to uint64
		if n, _ := fmt.Sscanf(s.Text(), "%x-%x ", &from, &to); n == 2 {
			here = from <= addr && addr < to
		}
		if flags, ok := strings.CutPrefix(s.Text(), "VmFlags:"); ok && here {
			return flags, nil
		}
	}
	if err := s.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("no mapping holds %#x", addr)
}
