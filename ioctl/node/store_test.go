package node

import (
	"testing"

	"pgregory.net/rapid"
)

// Buffers of a store never overlap, are as long as asked and page aligned, the
// limit holds, and everything goes back at the end.
func TestStore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &store{limit: 4 << 20}
		var live [][]byte
		marks := map[*byte]byte{}
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(live) > 0 && rapid.Bool().Draw(t, "free") {
				k := rapid.IntRange(0, len(live)-1).Draw(t, "which")
				b := live[k]
				for _, p := range []int{0, len(b) - 1} {
					if b[p] != marks[&b[0]] {
						t.Fatalf("a buffer of %d bytes was overwritten", len(b))
					}
				}
				s.put(b)
				live = append(live[:k], live[k+1:]...)
				continue
			}
			n := rapid.IntRange(-1, 3<<20).Draw(t, "n")
			if rapid.Bool().Draw(t, "small") {
				n = min(n, 70000)
			}
			b := s.alloc(n)
			if n <= 0 && b != nil || b != nil && len(b) != n {
				t.Fatalf("%d bytes for %d", len(b), n)
			}
			if s.held > s.limit {
				t.Fatalf("%d bytes held, the limit is %d", s.held, s.limit)
			}
			if b != nil {
				b[0], b[n-1] = byte(i), byte(i)
				marks[&b[0]] = byte(i)
				live = append(live, b)
			}
		}
		s.close()
		for _, b := range live {
			s.put(b)
		}
		if s.held != 0 || s.live != 0 {
			t.Fatalf("%d bytes and %d buffers are left", s.held, s.live)
		}
	})
}
