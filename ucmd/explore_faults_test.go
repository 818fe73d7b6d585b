package ucmd

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The explorer is shown to find faults: each is a healing step of the real code
// taken out, in a world where it matters if it matters at all. What each leads
// to is told in docs/lifecycle.md; the shortest schedules that the explorer
// finds are kept as scenarios, ../testdata/lifecycle/faults.

// faultCase is one fault and what has to be found.
type faultCase struct {
	name    string
	without string // the faults, as the header of a scenario names them
	plan    plan
	// finds is how the failure begins; "": it is harmless, nothing is found.
	finds string
}

// prealloc and write are the two worlds in which the flushes could matter: a
// buffer becomes idle because a command ends, or without any.
const (
	faultWrite = `device reuse=all on_free=ignore
command w1 write blocks=8`
	faultWriteCall = `device reuse=all on_free=call
command w1 write blocks=8`
	// INQUIRY leaves unit attentions pending, so the target has a look at it
	// and lets it go on: the lock is free meanwhile.
	faultEvent = `device reuse=all on_free=ignore unit_attentions release_timeout=1s stalls
command i1 inquiry`
)

var faultCases = []faultCase{
	{name: "none", plan: plan{header: faultWrite, times: times(opPrealloc, opFlush, opKill, opExtCDB), replies: []replyKind{replyBackground}, odd: 1, depth: 5, switches: 1}},
	{name: "bottom-flush", without: "bottom-flush", plan: plan{header: faultWrite, times: times(opPrealloc, opFlush, opKill), depth: 6, switches: 1}},
	{name: "top-flush", without: "top-flush", plan: plan{header: faultWrite, times: times(opPrealloc, opFlush, opKill), depth: 6, switches: 1}},
	{name: "release-flush", without: "release-flush", plan: plan{header: faultWrite, times: times(opPrealloc, opFlush, opKill), depth: 6, switches: 1}},
	{name: "both-flushes", without: "top-flush bottom-flush", plan: plan{header: faultWrite, times: times(opPrealloc, opFlush, opKill), depth: 7, switches: 2}, finds: "I5"},
	{name: "all-flushes", without: "top-flush bottom-flush release-flush", plan: plan{header: faultWrite, times: times(opKill), depth: 7, switches: 1}, finds: "I5"},
	{name: "background-drop", without: "background-drop", plan: plan{header: faultWrite, times: times(opKill), replies: []replyKind{replyBackground}, odd: 1, depth: 7, switches: 1}, finds: "I5"},
	{name: "extended-cdb-put", without: "extended-cdb-put", plan: plan{header: faultWrite, times: times(opKill, opExtCDB), depth: 7, switches: 1}, finds: "I5"},
	{name: "single-drop", without: "single-drop", plan: plan{header: faultWrite, times: times(opKill), depth: 7, switches: 1}, finds: "panic"},
	{name: "early-on-free-state", without: "early-on-free-state", plan: plan{header: faultWrite, times: times(opKill, opFlush), depth: 7, switches: 1}, finds: "h="},
	{name: "early-on-free-state-uncached", without: "early-on-free-state", plan: plan{header: `device reuse=none on_free=ignore
command w1 write blocks=8`, times: times(opKill, opFlush), depth: 7, switches: 1}},
	{name: "give-back", without: "give-back", plan: plan{header: faultEvent, times: times(opKill, opStall), depth: 5, switches: 1}, finds: "I"},
	{name: "early-on-free-state-limit", without: "early-on-free-state", plan: plan{header: `device reuse=all on_free=ignore max_idle_pages=1
command W1 write blocks=16`, times: times(opKill), depth: 7, switches: 0}, finds: "I5"},
}

const faultDir = "../testdata/lifecycle/faults"

// TestExploreFindsFaults deepens until it finds the fault, so that what it
// finds is the shortest: fewest actions, then fewest switches.
func TestExploreFindsFaults(t *testing.T) {
	for _, c := range faultCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.plan.name = c.name
			if c.without != "" {
				c.plan.header += "\nwithout " + c.without
			}
			c.plan.prepare(t)
			if c.finds == "" && *exploreTime > 0 {
				exploreDeeper(t, &c.plan)
				return
			}
			if c.finds == "" {
				c.plan.depth -= raceDepth / 2
			}
			e := shortest(t, &c.plan)
			if c.finds == "" {
				if e.failure != "" {
					t.Errorf("it was thought to be harmless:\n%s", e.scenario())
				}
				return
			}
			if len(e.failure) < len(c.finds) || e.failure[:len(c.finds)] != c.finds {
				t.Fatalf("found %q, want %s", e.failure, c.finds)
			}
			keepFault(t, c.name, e.scenario())
		})
	}
}

// shortest explores deeper and deeper until something is found.
func shortest(t *testing.T, p *plan) *explorer {
	var e *explorer
	start, states := time.Now(), 0
	for depth := 1; depth <= p.depth; depth++ {
		for switches := 0; switches <= p.switches; switches++ {
			e = &explorer{p: p, depth: depth, switches: switches}
			done := e.explore(t)
			states += len(e.seen)
			if !done {
				t.Logf("%s: found with %d actions and %d switches, %d states, %.2f s: %s",
					p.name, depth, switches, states, time.Since(start).Seconds(), e.failure)
				return e
			}
		}
	}
	t.Logf("%s: nothing with up to %d actions and %d switches, %d states, %.1f s", p.name, p.depth, p.switches, states, time.Since(start).Seconds())
	return e
}

// keepFault compares the schedule with the one that is kept, and checks that it
// fails when it is run as a scenario.
func keepFault(t *testing.T, name, text string) {
	t.Helper()
	got, failures := runScenario(t, text)
	if len(failures) == 0 {
		t.Errorf("as a scenario it does not fail:\n%s", got)
	}
	file := filepath.Join(faultDir, name+".txt")
	want, err := os.ReadFile(file)
	if *rewriteScenarios {
		err = os.WriteFile(file, []byte(got), 0o644)
	} else if err == nil && string(want) != got {
		err = fmt.Errorf("the shortest way to the fault is another one now (go test -rewrite would accept it):\n%s", firstDifference(string(want), got))
	}
	if err != nil {
		t.Error(err)
	}
}
