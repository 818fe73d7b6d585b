package fileio

import (
	"errors"
	"testing"

	"scstuser/handlers"

	"golang.org/x/sys/unix"
)

// What FastZero says is there has to work, and what turns out to be missing is
// not said any more.
func TestFastZeroSaysWhatWorks(t *testing.T) {
	for name, dir := range map[string]string{"here": t.TempDir(), "tmpfs": memoryDir(t)} {
		t.Run(name, func(t *testing.T) {
			f := open1(t, image(t, dir, 1<<20))
			punch, zero := f.FastZero()
			if err := f.Punch(0, 4096); punch && err != nil {
				t.Errorf("Punch is said to be fast: %v", err)
			}
			if err := f.Zero(0, 4096); zero && err != nil {
				t.Errorf("Zero is said to be fast: %v", err)
			}
			if name == "tmpfs" && (!punch || zero) {
				t.Errorf("tmpfs: punch %v, zero %v, want only the first", punch, zero)
			}
		})
	}
}

func TestFastZeroForgetsWhatIsMissing(t *testing.T) {
	f := open1(t, image(t, memoryDir(t), 1<<20))
	f.sys.fallocate = func(int, uint32, int64, int64) error { return unix.EOPNOTSUPP }
	if punch, _ := f.FastZero(); !punch {
		t.Fatal("tmpfs can punch")
	}
	if err := f.Punch(0, 4096); !errors.Is(err, handlers.ErrNotSupported) {
		t.Fatal(err)
	}
	if punch, zero := f.FastZero(); punch || zero {
		t.Errorf("punch %v, zero %v, after the medium refused", punch, zero)
	}
}

func TestFastZeroOfADevice(t *testing.T) {
	f := open1(t, loopDevice(t, 1<<20, 512))
	punch, zero := f.FastZero()
	if punch != zero {
		t.Errorf("punch %v, zero %v: a device has one command for both", punch, zero)
	}
	if punch {
		skipUnsupported(t, f.Punch(0, 4096))
	}
}

func open1(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
