package replay

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"scstuser/ioctl/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recordings are the module's own, by id.
func recordings(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../testdata/ioctl/recordings/*.jsonl.gz")
	if err != nil || len(files) < 19 {
		t.Fatalf("%d recordings, want 19 (%v)", len(files), err)
	}
	m := map[string]string{}
	for _, f := range files {
		id := strings.TrimSuffix(filepath.Base(f), ".jsonl.gz")
		if i := strings.IndexByte(id, '-'); i <= 2 && id[0] != 't' {
			id = id[:i]
		}
		m[id] = f
	}
	return m
}

func load(t testing.TB, name string) *trace.Recording {
	t.Helper()
	rec, err := trace.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// Every recording of the module replays; what differs on purpose is named.
func TestModuleRecordingsReplay(t *testing.T) {
	for id, name := range recordings(t) {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			res, err := Run(load(t, name), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := res.Difference; d != nil {
				var b strings.Builder
				_ = d.WriteText(&b)
				t.Errorf("%s", b.String())
			}
			t.Logf("%+v", res)
		})
	}
}
