package ucmd

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"scstuser/scsi"
)

// Agreement with the module: ../testdata/lifecycle has what its debug log shows
// for a few commands, cut down to the lines that tell of a ucmd. Each recording
// is turned into steps, our events of the same command too, and the two lists
// have to be equal.
//
// How a log line becomes a step ("A" is the ucmd it names):
//
//	cmd_insert_hash: Inserted ucmd A                  inserted
//	dev_user_parse: Preparing PARSE (A)               state PARSING
//	dev_user_alloc_sg: Buf alloced (A), after
//	  "Buf ucmd" naming another ucmd                  state BUF_ALLOCING, sgv-hit
//	  "Buf ucmd" naming A                             sgv-filled
//	dev_user_alloc_space: Preparing ALLOC_MEM (A),
//	  or Delayed alloc, A                             state BUF_ALLOCING, sgv-miss
//	dev_user_exec: Preparing EXEC (A)                 state EXECING
//	dev_user_on_free_cmd: Preparing ON_FREE_CMD       state ON_FREEING
//	dev_user_on_cached_mem_free: Preparing … (A)      state ON_CACHE_FREEING
//	dev_user_process_reply_on_free: ON FREE A,
//	  if no reply was looked up for A before          state ON_FREE_SKIPPED
//	dev_user_add_to_ready: Adding A                   ready at tail
//	dev_user_add_to_ready_head: Adding A (state N)    ready at mgmt, or at head, by the state
//	__dev_user_get_next_cmd: Found ready A            fetched; nothing if "Unjamming A" comes next
//	ucmd_get_check: A, new ref_cnt N                  ref -> N
//	ucmd_get: A, ucmd_ref N (before)                  ref -> N+1
//	ucmd_put: A, ucmd_ref N (before)                  unref -> N-1
//	dev_user_process_reply_*: the first that names A
//	  after __ucmd_find_hash found it                 replied
//	sgv_pool_free                                     sgv-put, of the ucmd whose on-free runs
//	__dev_user_free_sg_entries (A)                    sgv-gone
//	dev_user_unjam_cmd: Unjamming A                   unjam
//	cmd_remove_hash: Removed A                        removed
//
// Our events differ in what the log does not show: who holds a reference, the
// dirty mark, and which state was replied to, fetched or unjammed. Ucmds are
// named by letters, in the order in which they appear.

// steps collects one list, naming ucmds by letters.
type steps struct {
	names map[string]string
	list  []string
}

func (s *steps) add(ucmd, format string, args ...any) {
	if s.names == nil {
		s.names = map[string]string{}
	}
	if s.names[ucmd] == "" {
		s.names[ucmd] = string(rune('a' + len(s.names)))
	}
	s.list = append(s.list, s.names[ucmd]+" "+fmt.Sprintf(format, args...))
}

var (
	logLine    = regexp.MustCompile(`\]: (\w+):\d+:(.*)`)
	logAddress = regexp.MustCompile(`ffff[0-9a-f]{12}`)
	logRef     = regexp.MustCompile(`(?:new ref_cnt|ucmd_ref) (\d+)`)
	logState   = regexp.MustCompile(`\(state (\d+)\)`)
)

// recordedSteps reads a recording.
func recordedSteps(t *testing.T, name string) []string {
	t.Helper()
	file, err := os.ReadFile("../testdata/lifecycle/" + name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	var s steps
	found := map[string]bool{} // looked up for a reply that is not processed yet
	bufUcmd, freeing := "", ""
	lines := strings.Split(strings.TrimSpace(string(file)), "\n")
	for i, l := range lines {
		m := logLine.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		a, ref := logAddress.FindString(m[2]), 0
		if r := logRef.FindStringSubmatch(m[2]); r != nil {
			ref, _ = strconv.Atoi(r[1])
		}
		switch fn, text := m[1], m[2]; {
		case fn == "cmd_insert_hash":
			s.add(a, "inserted")
		case fn == "cmd_remove_hash":
			s.add(a, "removed")
		case fn == "ucmd_get_check":
			s.add(a, "ref -> %d", ref)
		case fn == "ucmd_get":
			s.add(a, "ref -> %d", ref+1)
		case fn == "ucmd_put":
			s.add(a, "unref -> %d", ref-1)
		case strings.HasPrefix(text, "Preparing PARSE"):
			s.add(a, "state %v", StateParsing)
		case strings.HasPrefix(text, "Buf ucmd"):
			bufUcmd = a
		case strings.HasPrefix(text, "Buf alloced"):
			if bufUcmd == a {
				s.add(a, "sgv-filled")
			} else {
				s.add(a, "state %v", StateBufAllocing)
				s.add(a, "sgv-hit")
			}
		case strings.HasPrefix(text, "Preparing ALLOC_MEM"), strings.HasPrefix(text, "Delayed alloc"):
			s.add(a, "state %v", StateBufAllocing)
			s.add(a, "sgv-miss")
		case strings.HasPrefix(text, "Preparing EXEC"):
			s.add(a, "state %v", StateExecing)
		case fn == "dev_user_on_free_cmd":
			if a != "" {
				freeing = a
			} else { // Preparing ON_FREE_CMD
				s.add(freeing, "state %v", StateOnFreeing)
			}
		case strings.HasPrefix(text, "Preparing ON_CACHED_MEM_FREE"):
			s.add(a, "state %v", StateOnCacheFreeing)
		case fn == "dev_user_add_to_ready":
			s.add(a, "ready at tail")
		case fn == "dev_user_add_to_ready_head":
			n, _ := strconv.Atoi(logState.FindStringSubmatch(text)[1])
			s.add(a, "ready at %s", map[bool]string{true: "mgmt", false: "head"}[State(n).management()])
		case fn == "__dev_user_get_next_cmd":
			if i+1 == len(lines) || !strings.Contains(lines[i+1], "Unjamming ucmd "+a) {
				s.add(a, "fetched")
			}
		case fn == "dev_user_unjam_cmd":
			s.add(a, "unjam")
		case fn == "__ucmd_find_hash":
			found[a] = true
		case strings.HasPrefix(fn, "dev_user_process_reply_") && found[a]:
			found[a] = false
			freeing = a
			s.add(a, "replied")
		case strings.HasPrefix(text, "ON FREE"):
			s.add(a, "state %v", StateOnFreeSkipped)
		case fn == "sgv_pool_free":
			s.add(freeing, "sgv-put")
		case fn == "__dev_user_free_sg_entries":
			s.add(a, "sgv-gone")
		}
	}
	return s.list
}

var (
	ourEvent = regexp.MustCompile(`^h=(\d+) (.*)$`)
	ourOwner = regexp.MustCompile(`(ref) \w+ ->`)
	ourState = regexp.MustCompile(`^(fetched|replied|unjam|ready) \w+`)
)

// ourSteps turns our events into steps.
func ourSteps(events []string) []string {
	var s steps
	for _, e := range events {
		m := ourEvent.FindStringSubmatch(e)
		text := ourOwner.ReplaceAllString(m[2], "$1 ->")
		text = ourState.ReplaceAllString(text, "$1")
		if text != "dirty" {
			s.add(m[1], "%s", text)
		}
	}
	return s.list
}

func TestLifecycleAgreesWithTheModule(t *testing.T) {
	callOpts := []benchOpt{withOnFree(OnFreeCall)}
	noneOpts := []benchOpt{withOnFree(OnFreeCall), withReuse(ReuseNone)}
	cached := func(b *bench) { b.doWrite(8); b.settleFree() }
	nothing := func(*bench) {}
	for _, x := range []struct {
		name  string
		opts  []benchOpt
		given func(b *bench)
		when  func(b *bench)
	}{
		{"write-miss", nil, cached, func(b *bench) { b.write(32) }},
		{"write-hit", nil, cached, func(b *bench) { b.write(8) }},
		{"read-hit", nil, cached, func(b *bench) { b.read(8) }},
		{"no-data", nil, nothing, func(b *bench) { b.submit(syncCDB) }},
		{"no-data-hq", nil, nothing, func(b *bench) { b.submit(scsi.EncodeTestUnitReady()) }},
		{"write-none", noneOpts, nothing, func(b *bench) { b.write(8) }},
		{"read-none", noneOpts, nothing, func(b *bench) { b.read(8) }},
		{"write-miss-on-free-call", callOpts, cached, func(b *bench) { b.write(32) }},
		{"read-hit-on-free-call", callOpts, cached, func(b *bench) { b.read(8) }},
		{"write-hit-parse-call", nil, func(b *bench) {
			cached(b)
			o := b.dev.GetOptions()
			o.Parse = uint8(ParseCall)
			if err := b.dev.SetOptions(o); err != nil {
				b.t.Fatal(err)
			}
		}, func(b *bench) { b.write(8) }},
		{"detach", nil, nothing, func(b *bench) {
			go b.sess.Close(b.t.Context())
			eventually(b.t, "it is queued", b.dev.Poll)
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t, x.opts...)
			x.given(b)
			b.obs.take()
			x.when(b)
			b.serveAll()
			expectLines(t, ourSteps(b.obs.take()), strings.Join(recordedSteps(t, x.name), "\n"))
			b.close()
		})
	}
	t.Run("attach", func(t *testing.T) {
		b := newBareBench(t)
		b.attach(b.fe)
		expectLines(t, ourSteps(b.obs.take()), strings.Join(recordedSteps(t, "attach"), "\n"))
		b.close()
	})
	// The cleanup of an idle device, as the module runs it: unjam-device, whose
	// flush finds three buffers, two of them of one class; then what that has
	// queued.
	t.Run("release-idle", func(t *testing.T) {
		b := newBench(t, callOpts...)
		_, s1 := b.writeExec(8)
		_, s2 := b.writeExec(8)
		_, s3 := b.writeExec(32)
		for _, s := range []Subcommand{s2, s1, s3} { // s1 was used last of its class
			b.execDone(s)
		}
		b.settleFree()
		b.obs.take()
		b.dev.mu.Lock()
		b.dev.released = true
		b.dev.mu.Unlock()
		b.dev.unjamDevice()
		b.dev.unjamAllReady()
		expectLines(t, ourSteps(b.obs.take()), strings.Join(recordedSteps(t, "release-idle"), "\n"))
		b.dev.mu.Lock()
		b.dev.released = false
		b.dev.mu.Unlock()
		b.close()
	})
}

// serveAll answers everything, one subcommand after the other, as a handler
// with one thread does.
func (b *bench) serveAll() {
	b.t.Helper()
	for s, ok := b.tryGet(); ok; s, ok = b.tryGet() {
		r := Reply{Handle: s.Handle, Code: s.Code}
		if s.Code == SubParse {
			r = goodParse(s, s.Dir, s.BufLen*512)
		}
		b.mem.answer(&s, &r)
		b.reply(r)
	}
}
