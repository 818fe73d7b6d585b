package fileio

import (
	"os"
	"testing"

	"scstuser/handlers"
	"scstuser/handlers/backingtest"
)

// places are the media that the conformance suite runs on.
var places = []struct {
	name string
	// image returns the path of a new medium of zeroes.
	image func(t *testing.T, size int64) string
}{
	{"file", func(t *testing.T, size int64) string { return image(t, t.TempDir(), size) }},
	{"tmpfs", func(t *testing.T, size int64) string { return image(t, memoryDir(t), size) }},
	{"device512", func(t *testing.T, size int64) string { return loopDevice(t, size, 512) }},
	{"device4096", func(t *testing.T, size int64) string { return loopDevice(t, size, 4096) }},
}

func TestConformance(t *testing.T) {
	for _, place := range places {
		for _, mode := range []struct {
			name string
			o    Options
			once bool // differs too little to run on more than one medium
		}{
			{"buffered", Options{}, false},
			{"nv_cache", Options{NVCache: true}, true},
			{"write_through", Options{WriteThrough: true}, false},
			{"direct", Options{Direct: true}, false},
			{"direct,write_through", Options{Direct: true, WriteThrough: true}, false},
			{"read_only", Options{ReadOnly: true}, false},
			{"block4096", Options{BlockSize: 4096}, true},
		} {
			if mode.once && place.name != "file" {
				continue
			}
			t.Run(place.name+"/"+mode.name, func(t *testing.T) {
				conform(t, place.image, mode.o)
			})
		}
	}
}

func conform(t *testing.T, image func(*testing.T, int64) string, o Options) {
	open := func(t *testing.T, size int64) handlers.Backing {
		return mustOpen(t, image(t, size), o)
	}
	backingtest.Run(t, open, backingtest.Opts{
		Grain:    1,
		NoAllocs: true,
		Reopen: func(t *testing.T, b handlers.Backing) handlers.Backing {
			path := b.(*File).path
			if err := b.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			return mustOpen(t, path, o)
		},
	})
}

// Nothing is created or changed by opening, closing and refusing.
func TestOpenChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := image(t, dir, 1000)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {ReadOnly: true}, {Direct: true}, {BlockSize: 4096}, {BlockSize: 7}} {
		if f, err := Open(path, o); err == nil {
			f.Close()
		}
		Open(path+".no", o)
	}
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if after.ModTime() != before.ModTime() || after.Size() != before.Size() || after.Mode() != before.Mode() {
		t.Errorf("%v became %v", before, after)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("there are %d files now", len(files))
	}
}
