package ucmd

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scstuser/scsi"
)

// Scenarios are text files: what a device is, what happens, and below each
// action, indented, every event that follows. ../testdata/lifecycle/scenarios
// has one for each way through the lifecycle; README there explains the words.
// A failed schedule of the explorer is printed as a scenario too; to see it
// step by step: go test ./ucmd -run TestScenario$ -scenario FILE -v

var (
	rewriteScenarios = flag.Bool("rewrite", false, "write what happens into the scenario files")
	oneScenario      = flag.String("scenario", "", "run this scenario file and print what happens")
)

const scenarioDir = "../testdata/lifecycle/scenarios"

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob(scenarioDir + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, failures := runScenario(t, string(want))
			for _, f := range failures {
				t.Error(f)
			}
			if got == string(want) {
				return
			}
			if *rewriteScenarios {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("it went another way (go test -rewrite would accept it):\n%s", firstDifference(string(want), got))
		})
	}
}

// TestScenario runs one file, for whoever looks for a fault.
func TestScenario(t *testing.T) {
	if *oneScenario == "" {
		t.Skip("no -scenario FILE given: this test is for looking at one")
	}
	text, err := os.ReadFile(*oneScenario)
	if err != nil {
		t.Fatal(err)
	}
	got, failures := runScenario(t, string(text))
	t.Log("\n" + got)
	for _, f := range failures {
		t.Error(f)
	}
}

// firstDifference shows where two texts part, with what comes before.
func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < len(w) && i < len(g) && w[i] == g[i] {
		i++
	}
	at := func(l []string) string {
		if i < len(l) {
			return l[i]
		}
		return "(the end)"
	}
	return fmt.Sprintf("%s\nwant %s\ngot  %s", strings.Join(w[max(0, i-8):min(i, len(w))], "\n"), at(w), at(g))
}

// scenario is a file that is being run.
type scenario struct {
	cfg  worldConfig
	w    *world
	out  []string
	errs []string
}

// runScenario runs a scenario's actions and returns it with what happened.
func runScenario(t *testing.T, text string) (got string, failures []string) {
	s := &scenario{cfg: worldConfig{desc: plainDesc()}}
	synctest.Test(t, func(*testing.T) {
		for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
			if strings.HasPrefix(line, "    ") {
				continue // what happened the last time
			}
			s.out = append(s.out, line)
			if err := s.line(line); err != nil {
				s.errs = append(s.errs, fmt.Sprintf("%q: %v", line, err))
				break
			}
		}
		if s.w != nil && !s.w.ending {
			s.w.say = nil
			s.w.end()
		}
	})
	if s.w != nil {
		s.errs = append(s.errs, s.w.failures...)
	}
	return strings.Join(s.out, "\n") + "\n", s.errs
}

// line does what one line says.
func (s *scenario) line(line string) error {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(line, "#") {
		return nil
	}
	if done, err := s.cfg.setting(words); done {
		return err
	}
	if s.w == nil {
		s.w = newWorld(&s.cfg, func(l string) { s.out = append(s.out, "    "+l) })
		if s.cfg.noSession {
			s.w.st.setThrough(false)
		} else {
			say := s.w.say
			s.w.say = nil
			s.w.start()
			s.w.say = say
		}
	}
	err := s.action(words)
	s.w.check()
	return err
}

func (s *scenario) action(words []string) error {
	w := s.w
	switch words[0] {
	case "begin": // SLOT ACTION
		a, err := w.parse(words[2:])
		if err != nil {
			return err
		}
		if slot := w.st.begin(func() { w.do(a) }); slotName(slot) != words[1] {
			return fmt.Errorf("that is %s", slotName(slot))
		}
	case "go-on": // NAME TIMES
		n, err := strconv.Atoi(words[2])
		for ; n > 0 && err == nil; n-- {
			err = s.goOn(words[1])
		}
		return err
	case "rest":
		w.toRest()
	case "where":
		for _, t := range w.st.threads() {
			w.tell("%s at %s", t.name(), t.place())
		}
	case "commands":
		l := w.dev.left()
		slices.SortFunc(l, func(a, b Command) int { return int(a.Handle) - int(b.Handle) })
		for _, c := range l {
			line, _, _ := strings.Cut(c.String(), ", age ") // the clock is not part of the story
			w.tell("%s", line)
		}
	case "pool":
		w.st.look(func() {
			st := w.dev.pool.Stats()
			w.tell("idle %d, pages %d", st.IdleObjects, st.TotalPages)
		})
	case "end":
		// Everybody goes on at once here: what happens is checked, not shown.
		say := w.say
		w.say = nil
		n := len(w.failures)
		w.end()
		w.say = say
		for _, f := range w.failures[n:] {
			w.tell("FAILURE: %s", f)
		}
	default:
		a, err := w.parse(words)
		if err != nil {
			return err
		}
		w.act(a)
	}
	return nil
}

// goOn lets a goroutine go on to its next lock.
func (s *scenario) goOn(name string) error {
	for _, t := range s.w.st.threads() {
		if t.name() == name {
			s.w.st.resume(t)
			return nil
		}
	}
	return fmt.Errorf("%s is not in front of a lock", name)
}

// parse is the inverse of spell.
func (w *world) parse(words []string) (a action, err error) {
	i := slices.Index(opNames[:], words[0])
	if i < 0 {
		return a, fmt.Errorf("there is no such action")
	}
	a.op = op(i)
	args := words[1:]
	if n := len(args); n > 0 && args[n-1] == "disk2" {
		a.dev2, args = true, args[:n-1]
	}
	switch a.op {
	case opSubmit, opDeliver, opAbort:
		a.cmd = slices.IndexFunc(w.cfg.cmds, func(c cmdDef) bool { return len(args) > 0 && c.name == args[0] })
		if a.cmd < 0 {
			return a, fmt.Errorf("there is no such command")
		}
	case opReply, opExtCDB, opRequeue:
		h := ""
		if len(args) > 0 {
			h = strings.TrimPrefix(args[0], "h=")
		}
		n, err := strconv.ParseUint(h, 10, 32)
		if err != nil {
			return a, err
		}
		a.h = uint32(n)
		if a.op == opReply {
			k := slices.Index(replyNames[:], strings.Join(args[1:], " "))
			if k < 0 {
				return a, fmt.Errorf("there is no such reply")
			}
			a.reply = replyKind(k)
		}
	default:
		a.arg = strings.Join(args, " ")
	}
	return a, nil
}

// setting applies a line of the header; false: it is none.
func (c *worldConfig) setting(words []string) (done bool, err error) {
	switch words[0] {
	case "device":
		for _, f := range words[1:] {
			if err := c.deviceSetting(f); err != nil {
				return true, err
			}
		}
	case "without":
		for _, f := range words[1:] {
			p := c.faults.named(f)
			if p == nil {
				return true, fmt.Errorf("there is no fault %q", f)
			}
			*p = true
		}
	case "command":
		d, err := parseCmd(words[1:])
		if err != nil {
			return true, err
		}
		c.cmds = append(c.cmds, d)
	default:
		return false, nil
	}
	return true, nil
}

// named returns a fault's switch.
func (f *faults) named(name string) *bool {
	switch name {
	case "top-flush":
		return &f.noTopFlush
	case "bottom-flush":
		return &f.noBottomFlush
	case "release-flush":
		return &f.noReleaseFlush
	case "background-drop":
		return &f.keepBackground
	case "extended-cdb-put":
		return &f.leakExtendedCDB
	case "single-drop":
		return &f.dropTwice
	case "early-on-free-state":
		return &f.lateOnFreeState
	case "give-back":
		return &f.noGiveBack
	}
	return nil
}

func (c *worldConfig) deviceSetting(f string) error {
	name, value, _ := strings.Cut(f, "=")
	n, _ := strconv.Atoi(value)
	choose := func(p *uint8, names ...string) error {
		i := slices.Index(names, value)
		if i < 0 {
			return fmt.Errorf("%s is one of %v", name, names)
		}
		*p = uint8(i)
		return nil
	}
	d, l := &c.desc, &c.limits
	switch name {
	case "reuse":
		return choose(&d.Opt.Reuse, "none", "read", "write", "all")
	case "on_free":
		return choose(&d.Opt.OnFree, "call", "ignore")
	case "parse":
		return choose(&d.Opt.Parse, "standard", "call", "exception")
	case "non_blocking":
		d.NonBlocking = true
	case "purge":
		d.SGVPurgeInterval = int32(n)
	case "single_pages":
		d.SGVSinglePages = int32(n)
	case "max_ucmds":
		l.MaxUcmds = n
	case "max_pages":
		l.MaxPages = n
	case "max_idle_pages":
		l.MaxIdlePages = n
	case "release_timeout":
		t, err := time.ParseDuration(value)
		l.ReleaseTimeout = t
		return err
	case "grace":
		t, err := time.ParseDuration(value)
		l.HandlerGrace = t
		return err
	case "hold":
		c.hold = true
	case "unit_attentions":
		c.noAEN = true
	case "shared":
		c.shared = true
		d.SGVName, d.SGVShared = "pool", true
	case "unattached":
		c.noSession = true
	case "stalls":
		c.stalls = true
	default:
		return fmt.Errorf("there is no setting %q", name)
	}
	return nil
}

// parseCmd reads "NAME KIND [blocks=N] [lba=N] [ordered|head-of-queue] [disk2]".
func parseCmd(words []string) (d cmdDef, err error) {
	if len(words) < 2 {
		return d, fmt.Errorf("want a name and a kind")
	}
	d.name, d.q = words[0], scsi.QueueSimple
	blocks, lba := uint64(8), uint64(0)
	for _, f := range words[2:] {
		name, value, _ := strings.Cut(f, "=")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch name {
		case "blocks":
			blocks = n
		case "lba":
			lba = n
		case "ordered":
			d.q = scsi.QueueOrdered
		case "head-of-queue":
			d.q = scsi.QueueHeadOfQueue
		case "disk2":
			d.dev2 = true
		default:
			return d, fmt.Errorf("there is no %q", f)
		}
	}
	switch words[1] {
	case "write":
		d.cdb = scsi.EncodeWrite16(lba, uint32(blocks), false)
	case "read":
		d.cdb = scsi.EncodeRead16(lba, uint32(blocks), false)
	case "sync":
		d.cdb = scsi.EncodeSyncCache16(0, 0)
	case "inquiry":
		d.cdb = scsi.EncodeInquiry(false, 0, 96)
	case "test-unit-ready":
		d.cdb = scsi.EncodeTestUnitReady()
	case "vendor":
		d.cdb = scsi.CDB{Bytes: [16]byte{0xc0}, Len: 6}
	case "write-same":
		d.cdb = scsi.EncodeWriteSame16(lba, uint32(blocks), false, false)
	default:
		return d, fmt.Errorf("there is no kind %q", words[1])
	}
	return d, nil
}
