package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc/PID/stat. The kernel's interface
// fixes it at 1/100 s (USER_HZ) on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// Usage is what a process has used since it started.
type Usage struct {
	// CPU is the user and system time of all threads, ended ones included.
	// Its resolution is 10 ms.
	CPU time.Duration
	// RSS is the resident memory in bytes.
	RSS int64
	// PeakRSS is the highest RSS so far (VmHWM), in bytes.
	PeakRSS int64
}

// ReadUsage reads the usage of a process from /proc (proc_pid_stat(5),
// proc_pid_status(5)).
func ReadUsage(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	if u.CPU, err = parseCPU(string(stat)); err != nil {
		return Usage{}, err
	}
	if u.RSS, err = parseMemory(string(status), "VmRSS"); err != nil {
		return Usage{}, err
	}
	if u.PeakRSS, err = parseMemory(string(status), "VmHWM"); err != nil {
		return Usage{}, err
	}
	return u, nil
}

// parseCPU returns utime + stime of a /proc/PID/stat line. The second field is
// the command's name in parentheses and may hold spaces and parentheses
// itself, so fields are counted from the last closing one.
func parseCPU(stat string) (time.Duration, error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, errors.New("process stat line has no command name")
	}
	// The first field after the name is number 3; utime is 14, stime 15.
	const utime, stime = 14 - 3, 15 - 3
	f := strings.Fields(stat[end+1:])
	if len(f) <= stime {
		return 0, fmt.Errorf("process stat line has %d fields after the name, want more than %d", len(f), stime)
	}
	var ticks int64
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("process stat line: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// parseMemory returns the value of a "Key:  123 kB" line of /proc/PID/status
// in bytes.
func parseMemory(status, key string) (int64, error) {
	for line := range strings.Lines(status) {
		value, ok := strings.CutPrefix(line, key+":")
		if !ok {
			continue
		}
		kib, ok := strings.CutSuffix(strings.TrimSpace(value), " kB")
		if !ok {
			return 0, fmt.Errorf("process status: %s is not in kB: %q", key, line)
		}
		n, err := strconv.ParseInt(kib, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("process status: %s: %w", key, err)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("process status has no %s: the process has ended", key)
}
