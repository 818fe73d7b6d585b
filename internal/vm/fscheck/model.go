package main

import (
	"maps"
	"slices"
)

// kind is what an operation does.
type kind string

// The kinds.
const (
	opWrite    kind = "write"    // data at offset; the file is made if need be
	opTruncate kind = "truncate" // to length
	opPunch    kind = "punch"    // length bytes at offset read as zeroes
	opRename   kind = "rename"   // to the name to, over what is there
	opUnlink   kind = "unlink"
	opSync     kind = "sync" // fsync
	opRead     kind = "read" // compare, around the page cache
)

// op is an operation on the file name.
type op struct {
	kind   kind
	name   string
	to     string
	offset int64
	length int64
	data   []byte
}

// model is what has to be in the directory: contents by name.
type model struct {
	files map[string][]byte
}

func newModel() *model { return &model{files: make(map[string][]byte)} }

// names returns the names in order, so that a choice among them is the same in
// every run.
func (m *model) names() []string { return slices.Sorted(maps.Keys(m.files)) }

// do does to the model what op does to a file system.
func (m *model) do(o op) {
	content := m.files[o.name]
	switch o.kind {
	case opWrite:
		if end := int(o.offset) + len(o.data); end > len(content) {
			content = resized(content, end)
		}
		copy(content[o.offset:], o.data)
		m.files[o.name] = content
	case opTruncate:
		m.files[o.name] = resized(content, int(o.length))
	case opPunch:
		clear(content[min(int64(len(content)), o.offset):min(int64(len(content)), o.offset+o.length)])
	case opRename:
		delete(m.files, o.name)
		m.files[o.to] = content
	case opUnlink:
		delete(m.files, o.name)
	}
}

// resized returns b with n bytes; new ones are zeroes.
func resized(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n:n]
	}
	return append(b[:len(b):len(b)], make([]byte, n-len(b))...)
}
