package vm

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// monitorTimeout is how long QEMU may take to answer.
const monitorTimeout = 30 * time.Second

// monitor is QEMU's control connection (QMP).
type monitor struct {
	mu   sync.Mutex // held for the time of one command, and guards what follows
	conn net.Conn
	r    *bufio.Reader
}

// newMonitor does the greeting.
func newMonitor(conn net.Conn) (*monitor, error) {
	m := &monitor{conn: conn, r: bufio.NewReader(conn)}
	if _, err := m.execute(map[string]any{"execute": "qmp_capabilities"}); err != nil {
		return nil, fmt.Errorf("greet QEMU's monitor: %w", err)
	}
	return m, nil
}

// execute sends a command and returns what it returns. The greeting and events
// that come in between are passed over.
func (m *monitor) execute(command map[string]any) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.conn.SetDeadline(time.Now().Add(monitorTimeout)); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(m.conn).Encode(command); err != nil {
		return nil, err
	}
	for {
		line, err := m.r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		var answer struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		switch err := json.Unmarshal(line, &answer); {
		case err != nil:
			return nil, fmt.Errorf("QEMU's monitor says %q: %w", line, err)
		case answer.Error != nil:
			return nil, errors.New(answer.Error.Desc)
		case answer.Return != nil:
			return answer.Return, nil
		}
	}
}

// Monitor runs a command of QEMU's monitor for people ("info block") and returns
// what it prints.
func (m *Machine) Monitor(line string) (string, error) {
	answer, err := m.monitor.execute(map[string]any{
		"execute": "human-monitor-command", "arguments": map[string]any{"command-line": line},
	})
	var text string
	if err == nil {
		err = json.Unmarshal(answer, &text)
	}
	if err != nil {
		return "", fmt.Errorf("QEMU's monitor: %s: %w", line, err)
	}
	return text, nil
}

// forwardLine is how QEMU lists a forwarded port: TCP[HOST_FORWARD] fd
// 127.0.0.1 port 10.0.2.15 port and two counts.
var forwardLine = regexp.MustCompile(`TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)\s`)

// forwards finds the ports of the host by those of the guest in the text of
// "info usernet".
func forwards(text string) map[int]int {
	ports := make(map[int]int)
	for _, match := range forwardLine.FindAllStringSubmatch(text, -1) {
		host, err := strconv.Atoi(match[1])
		if err != nil {
			continue
		}
		if guest, err := strconv.Atoi(match[2]); err == nil {
			ports[guest] = host
		}
	}
	return ports
}
