package fusenode

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"scstuser/ioctl/node"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// maxUcmds is MAX_UCMDS of testdata/session.h: room enough for what the other
// tests do at a time.
const maxUcmds = 8

// scripted is an initiator in this process that does what a C program says: see
// testdata/session.h.
type scripted struct {
	host  *node.Host
	sess  *target.Session
	got   chan error // the end of NewSession
	cmds  map[int]*scriptedCmd
	mgmts map[int]*scriptedTM
}

type scriptedCmd struct {
	target.Cmd
	held    bool
	payload int
	over    chan struct{} // closed when the response is made
	status  scsi.Status
	sense   scsi.Sense
	data    []byte
}

type scriptedTM struct {
	target.MgmtCmd
	over chan struct{}
}

var _ target.Frontend = (*scripted)(nil)

// RdyToXfer implements target.Frontend.
func (s *scripted) RdyToXfer(c *target.Cmd) target.Verdict {
	for i := range c.Buf {
		c.Buf[i] = 'w'
	}
	return target.Continue
}

// XmitResponse implements target.Frontend.
func (s *scripted) XmitResponse(c *target.Cmd) {
	x := c.Front.(*scriptedCmd)
	x.status, x.data = c.Status, append([]byte(nil), c.Data()...)
	if c.Status == scsi.CheckCondition {
		x.sense, _ = scsi.ParseSense(c.Sense())
	}
	close(x.over)
	if !x.held {
		c.Delivered(target.Delivered)
	}
}

// Freed, AEN, SessionGone and TMDone implement target.Frontend. All unit
// attentions are events to it.
func (s *scripted) Freed(*target.Cmd)                              {}
func (s *scripted) AEN(*target.Session, target.UnitAttention) bool { return true }
func (s *scripted) SessionGone(*target.Session)                    {}
func (s *scripted) TMDone(m *target.MgmtCmd)                       { close(m.Front.(*scriptedTM).over) }

// do carries out a line, and returns what to say to it.
func (s *scripted) do(line string) (answer string, err error) {
	f := strings.Fields(line)
	num := func(i int) int {
		n, nerr := strconv.Atoi(f[i])
		if nerr != nil {
			err = nerr
		}
		return n
	}
	switch {
	case len(f) == 2 && f[0] == "attach":
		return "", s.attach(f[1])
	case len(f) == 1 && f[0] == "attached":
		if err := <-s.got; err != nil {
			return "0", nil
		}
		return "1", nil
	case len(f) > 4 && (f[0] == "submit" || f[0] == "hold"):
		x := &scriptedCmd{held: f[0] == "hold", payload: num(3), over: make(chan struct{})}
		var cdb []byte
		for _, h := range f[4:] {
			b, perr := strconv.ParseUint(h, 16, 8)
			if perr != nil {
				return "", perr
			}
			cdb = append(cdb, byte(b))
		}
		x.Init(cdb, scsi.QueueType(num(2)))
		x.Front, x.Tag = x, uint64(num(1))
		s.cmds[num(1)] = x
		s.sess.Submit(&x.Cmd)
		return "", err
	case len(f) == 1 && f[0] == "detach":
		go func() { _ = s.sess.Close(context.Background()) }()
		return "", nil
	case len(f) == 2 && f[0] == "deliver":
		s.cmds[num(1)].Delivered(target.Delivered)
		return "", err
	case len(f) == 2 && f[0] == "over":
		select {
		case <-s.cmds[num(1)].over:
			return "1", err
		default:
			return "0", err
		}
	case len(f) == 2 && f[0] == "outcome":
		x := s.cmds[num(1)]
		if !within10s(x.over) {
			return "", fmt.Errorf("command %s does not end", f[1])
		}
		return fmt.Sprintf("%d %d %d %d %d 0", x.status, x.sense.Key, x.sense.ASC>>8, x.sense.ASC&255, len(x.data)), err
	case len(f) == 4 && f[0] == "tm":
		m := &scriptedTM{over: make(chan struct{})}
		m.Fn, m.Tag, m.Front = target.TMFunc(num(2)), uint64(num(3)), m
		s.mgmts[num(1)] = m
		s.sess.TaskMgmt(&m.MgmtCmd)
		return "", err
	case len(f) == 2 && f[0] == "tmover":
		m := s.mgmts[num(1)]
		if !within10s(m.over) {
			return "", fmt.Errorf("function %s does not end", f[1])
		}
		return strconv.Itoa(int(m.Result)), err
	}
	return "", fmt.Errorf("the program says %q", line)
}

func within10s(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

// attach begins a session with a device that is registered.
func (s *scripted) attach(name string) error {
	s.cmds, s.mgmts, s.got = map[int]*scriptedCmd{}, map[int]*scriptedTM{}, make(chan error, 1)
	for _, d := range s.host.Devices() {
		if d.Desc().Name == name {
			go func() {
				var err error
				s.sess, err = d.Target().NewSession(context.Background(), s, target.SessionInfo{Initiator: "test", Target: "target", LUN: 7})
				s.got <- err
			}()
			return nil
		}
	}
	return fmt.Errorf("there is no device %s", name)
}

// The rules that need an initiator which is more than a file, as a C program
// meets them.
func TestRulesWithASession(t *testing.T) {
	needFUSE(t)
	if rules == "" {
		t.Skip("NOT TESTED: no C compiler (cc) here")
	}
	names, err := run(t, rules, "", "-sessions")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(names) {
		t.Run(name, func(t *testing.T) {
			dir, h := mountedWith(t, node.Options{Limits: ucmd.Limits{MaxUcmds: maxUcmds}, Log: quiet()})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, rules, dir, name)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			s := &scripted{host: h}
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				answer, err := s.do(lines.Text())
				if err != nil {
					t.Error(err)
					break
				}
				// The program goes on when it has been done.
				_, _ = io.WriteString(in, "1 "+answer+"\n")
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, stderr.String())
			}
		})
	}
}
