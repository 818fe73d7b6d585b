package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The variables that tell whom to notify.
const (
	envNotify      = "NOTIFY_SOCKET"
	envWatchdog    = "WATCHDOG_USEC"
	envWatchdogPID = "WATCHDOG_PID"
)

// Notifier tells the service manager what the service does. A nil Notifier has
// nobody to tell. Errors are returned for the log; none of them is a reason to
// stop.
type Notifier struct {
	conn     *net.UnixConn
	watchdog time.Duration
}

// NewNotifier returns a Notifier, or nil if nobody wants to be told. It takes
// the variables out of the environment: programs that this one starts are not
// the service.
func NewNotifier() (*Notifier, error) {
	path, usec, pid := os.Getenv(envNotify), os.Getenv(envWatchdog), os.Getenv(envWatchdogPID)
	for _, name := range []string{envNotify, envWatchdog, envWatchdogPID} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	if path == "" {
		return nil, nil
	}
	// Package net takes a leading @ for an abstract socket, as systemd does.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", envNotify, err)
	}
	n := &Notifier{conn: c}
	if us, err := strconv.ParseInt(usec, 10, 64); err == nil && us > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog = time.Duration(us) * time.Microsecond
	}
	return n, nil
}

// Watchdog returns after which time without a call of Alive the service is
// taken for hung; 0: never.
func (n *Notifier) Watchdog() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Ready says that the service can be used, and what it does in a few words.
func (n *Notifier) Ready(status string) error {
	return n.send("READY=1", "STATUS="+strings.ReplaceAll(status, "\n", " "))
}

// Reloading says that the service reads its settings again; Ready ends that.
func (n *Notifier) Reloading() error {
	// The time tells the manager which of its requests this answers.
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	return n.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10))
}

// Stopping says that the service is on its way to its end.
func (n *Notifier) Stopping() error {
	return n.send("STOPPING=1", "STATUS=finishing what is in flight")
}

// Alive says that the service does not hang.
func (n *Notifier) Alive() error { return n.send("WATCHDOG=1") }

// Close ends the Notifier.
func (n *Notifier) Close() error {
	if n == nil {
		return nil
	}
	return n.conn.Close()
}

func (n *Notifier) send(lines ...string) error {
	if n == nil {
		return nil
	}
	if _, err := n.conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}
