package replay

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"scstuser/ioctl/trace"
)

// A trace is a file that anybody can have written: whatever is missing in it,
// or there twice, a replay ends, with a difference, an obstacle or nothing.
func TestGarbageDoesNotPanic(t *testing.T) {
	bases := []*trace.Recording{load(t, recordings(t)["ka"]), load(t, recordings(t)["kg"]), load(t, recordings(t)["q"]), load(t, recordings(t)["y"])}
	rapid.Check(t, func(t *rapid.T) {
		rec := copied(t, rapid.SampledFrom(bases).Draw(t, "recording"))
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			i := rapid.IntRange(0, len(rec.Events)-1).Draw(t, "event")
			spoil(t, rec.Events[i])
			if rapid.Bool().Draw(t, "double") {
				rec.Events = append(rec.Events[:i+1:i+1], rec.Events[i:]...)
			}
		}
		if _, err := Run(rec, Options{Timeout: 50 * time.Millisecond}); err != nil {
			var o *Obstacle
			if o, _ = err.(*Obstacle); o == nil {
				t.Fatal(err)
			}
		}
	})
}

// spoil removes or changes a member of an event, anywhere in it.
func spoil(t *rapid.T, e *trace.Event) {
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	spoilTree(t, tree)
	if text, err = json.Marshal(tree); err != nil {
		t.Fatal(err)
	}
	x := new(trace.Event)
	if json.Unmarshal(text, x) == nil { // else it is no event: the reader refuses it
		x.Seq = e.Seq
		*e = *x
	}
}

func spoilTree(t *rapid.T, v any) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			return
		}
		keys := slices.Sorted(maps.Keys(v))
		k := rapid.SampledFrom(keys).Draw(t, "member")
		switch v[k].(type) {
		case map[string]any, []any:
			if rapid.IntRange(0, 3).Draw(t, "deeper") > 0 {
				spoilTree(t, v[k])
				return
			}
			delete(v, k)
		case float64:
			v[k] = rapid.SampledFrom([]float64{0, 1, 2, 3, 255, 4096}).Draw(t, "number")
		case string:
			v[k] = rapid.SampledFrom([]string{"", "0x0", "0x1000", "00", "EXEC", "ALLOC_MEM", "PARSE", "ATTACH_SESS",
				"TASK_MGMT_RECEIVED", "ON_FREE_CMD", "exit", "enter", "release", "EFAULT", "EAGAIN", "REGISTER_DEVICE", "REPLY_AND_GET_CMD"}).Draw(t, "text")
		}
	case []any:
		if len(v) > 0 {
			spoilTree(t, v[rapid.IntRange(0, len(v)-1).Draw(t, "item")])
		}
	}
}
