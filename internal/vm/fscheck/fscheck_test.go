package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testOps = 60

func TestARunAndItsVerification(t *testing.T) {
	for seed := range uint64(6) {
		dir := t.TempDir()
		if err := run(dir, seed, testOps, false); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := run(dir, seed, testOps, true); err != nil {
			t.Fatalf("seed %d, again: %v", seed, err)
		}
	}
}

// Whatever is wrong afterwards is found.
func TestDamageIsFound(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, dir string, files []string)
		want   string
	}{
		{"a bit", func(t *testing.T, _ string, files []string) {
			b, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 4
			write(t, files[0], b)
		}, "is wrong at byte"},
		{"a length", func(t *testing.T, _ string, files []string) {
			if err := os.Truncate(files[0], 1); err != nil {
				t.Fatal(err)
			}
		}, "has 1 bytes"},
		{"a file too few", func(t *testing.T, _ string, files []string) {
			if err := os.Remove(files[0]); err != nil {
				t.Fatal(err)
			}
		}, "they have to be"},
		{"a file too many", func(t *testing.T, dir string, _ []string) {
			write(t, filepath.Join(dir, "more"), nil)
		}, "they have to be"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := run(dir, 1, testOps, false); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, "d*", "f*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("%d files, %v", len(files), err)
			}
			tc.damage(t, dir, files)
			if err := run(dir, 1, testOps, true); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// A plan has every kind of operation, and two seeds are two plans.
func TestPlans(t *testing.T) {
	kinds := make(map[kind]int)
	m, p := newModel(), newPlan(7)
	for range 400 {
		o := p.next(m)
		m.do(o)
		kinds[o.kind]++
	}
	for _, k := range []kind{opWrite, opTruncate, opPunch, opRename, opUnlink, opSync, opRead} {
		if kinds[k] == 0 {
			t.Errorf("no %s among 400 operations", k)
		}
	}
	dir := t.TempDir()
	if err := run(dir, 1, testOps, false); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, 2, testOps, true); err == nil {
		t.Error("another seed finds the same")
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
