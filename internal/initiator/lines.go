package initiator

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// verbs are the lines, by their first word, and how many words follow: at least,
// if that is negative.
var verbs = map[string]struct {
	words int
	do    func(i *Initiator, f *fields) string
}{
	"attach":   {1, func(i *Initiator, f *fields) string { f.fail(i.attach(f.words[0])); return "" }},
	"attached": {0, func(i *Initiator, _ *fields) string { return yes(<-i.got == nil) }},
	"submit":   {-4, func(i *Initiator, f *fields) string { i.submit(f, false); return "" }},
	"hold":     {-4, func(i *Initiator, f *fields) string { i.submit(f, true); return "" }},
	"deliver":  {1, (*Initiator).deliver},
	"over":     {1, (*Initiator).isOver},
	"outcome":  {1, (*Initiator).outcome},
	"tm":       {3, (*Initiator).manage},
	"tmover":   {1, (*Initiator).managed},
	"events":   {1, (*Initiator).told},
	"detach":   {0, (*Initiator).detach},
	"detached": {0, func(i *Initiator, _ *fields) string { return yes(<-i.gone == nil) }},
	"released": {0, func(i *Initiator, f *fields) string { n, err := i.released(); f.fail(err); return strconv.Itoa(n) }},
}

// Do does what a line says, and returns the answer. Calls must not overlap.
func (i *Initiator) Do(line string) (answer string, err error) {
	f := &fields{words: strings.Fields(line)}
	if len(f.words) == 0 {
		return "", fmt.Errorf("an empty line")
	}
	v, ok := verbs[f.words[0]]
	f.words = f.words[1:]
	if n := len(f.words); !ok || v.words >= 0 && n != v.words || n < -v.words {
		return "", fmt.Errorf("no such line: %q", line)
	}
	if f.verb = strings.Fields(line)[0]; i.dev == nil && f.verb != "attach" {
		return "", fmt.Errorf("%q needs a session: attach first", line)
	}
	answer = v.do(i, f)
	return answer, f.err
}

// fields are the words behind a verb, and the first thing that was wrong.
type fields struct {
	verb  string
	words []string
	err   error
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// num is a word as a number; one that is none is 0.
func (f *fields) num(i, base int) int {
	n, err := strconv.ParseInt(f.words[i], base, 32)
	if err != nil {
		f.fail(fmt.Errorf("%s: %w", f.verb, err))
	}
	return int(n)
}

func yes(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// command is the command that the first word names; nil, and an error, if there
// is none.
func (i *Initiator) command(f *fields) *command {
	x := i.cmds[f.num(0, 10)]
	if x == nil {
		f.fail(fmt.Errorf("%s: there is no command %s", f.verb, f.words[0]))
	}
	return x
}

func (i *Initiator) submit(f *fields, held bool) {
	x := &command{held: held, over: make(chan struct{})}
	cdb := make([]byte, len(f.words)-3)
	for n := range cdb {
		cdb[n] = byte(f.num(3+n, 16))
	}
	if f.err != nil {
		return
	}
	x.Init(cdb, scsi.QueueType(f.num(1, 10)))
	x.Front, x.Tag = x, uint64(f.num(0, 10))
	if n := f.num(2, 10); n > 0 {
		x.ExpectedSet, x.ExpectedDir, x.ExpectedLen = true, scsi.DirWrite, int32(n)
	}
	i.cmds[f.num(0, 10)] = x
	i.sess.Submit(&x.Cmd)
}

func (i *Initiator) deliver(f *fields) string {
	if x := i.command(f); x != nil {
		x.Delivered(target.Delivered)
	}
	return ""
}

func (i *Initiator) isOver(f *fields) string {
	x := i.command(f)
	if x == nil {
		return ""
	}
	select {
	case <-x.over:
		return "1"
	default:
		return "0"
	}
}

func (i *Initiator) outcome(f *fields) string {
	x := i.command(f)
	if x == nil {
		return ""
	}
	if !inTime(x.over) {
		f.fail(fmt.Errorf("command %s does not end", f.words[0]))
		return ""
	}
	first := byte(0)
	if len(x.data) > 0 {
		first = x.data[0]
	}
	return fmt.Sprintf("%d %s %d %d", x.status, sense(x.sense), len(x.data), first)
}

// sense is key, ASC and ASCQ.
func sense(s scsi.Sense) string { return fmt.Sprintf("%d %d %d", s.Key, s.ASC>>8, s.ASC&255) }

func (i *Initiator) manage(f *fields) string {
	m := &function{over: make(chan struct{})}
	m.Fn, m.Tag, m.Front = target.TMFunc(f.num(1, 10)), uint64(f.num(2, 10)), m
	if f.err == nil {
		i.mgmts[f.num(0, 10)] = m
		i.sess.TaskMgmt(&m.MgmtCmd)
	}
	return ""
}

func (i *Initiator) managed(f *fields) string {
	m := i.mgmts[f.num(0, 10)]
	if m == nil || !inTime(m.over) {
		f.fail(fmt.Errorf("function %s does not end", f.words[0]))
		return ""
	}
	return strconv.Itoa(int(m.Result))
}

func (i *Initiator) told(f *fields) string {
	ua, err := i.event(f.num(0, 10))
	f.fail(err)
	return sense(ua)
}

func (i *Initiator) detach(*fields) string {
	go func(sess *target.Session, gone chan<- error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		gone <- sess.Close(ctx)
	}(i.sess, i.gone)
	return ""
}

// inTime waits for the end of something.
func inTime(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-time.After(patience):
		return false
	}
}
