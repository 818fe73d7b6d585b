package abi_test

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/abi/internal/layout"
)

type codec interface {
	Encode([]byte) error
	Decode([]byte) error
}

// codecs makes one of each structure, by C name.
var codecs = map[string]func() codec{
	"scst_user_opt":                      func() codec { return new(abi.Opt) },
	"scst_user_dev_desc":                 func() codec { return new(abi.DevDesc) },
	"scst_user_sess":                     func() codec { return new(abi.Sess) },
	"scst_user_scsi_cmd_parse":           func() codec { return new(abi.Parse) },
	"scst_user_scsi_cmd_alloc_mem":       func() codec { return new(abi.AllocMem) },
	"scst_user_scsi_cmd_exec":            func() codec { return new(abi.Exec) },
	"scst_user_scsi_on_free_cmd":         func() codec { return new(abi.OnFree) },
	"scst_user_on_cached_mem_free":       func() codec { return new(abi.OnCachedMemFree) },
	"scst_user_tm":                       func() codec { return new(abi.TM) },
	"scst_user_ext_copy_data_descr":      func() codec { return new(abi.DataDescr) },
	"scst_user_ext_copy_remap":           func() codec { return new(abi.ExtCopyRemap) },
	"scst_user_scsi_cmd_reply_parse":     func() codec { return new(abi.ParseReply) },
	"scst_user_scsi_cmd_reply_alloc_mem": func() codec { return new(abi.AllocMemReply) },
	"scst_user_data_descriptor":          func() codec { return new(abi.WriteSameDescr) },
	"scst_user_scsi_cmd_reply_exec":      func() codec { return new(abi.ExecReply) },
	"scst_user_ext_copy_reply_remap":     func() codec { return new(abi.RemapReply) },
	"scst_user_get_ext_cdb":              func() codec { return new(abi.GetExtCDB) },
	"scst_user_prealloc_buffer_in":       func() codec { return new(abi.PreallocIn) },
	"scst_user_prealloc_buffer_out":      func() codec { return new(abi.PreallocOut) },
	"scst_user_get_multi":                func() codec { return new(abi.Multi) },
}

// canonical is a model of decode and encode by offsets alone: the bytes of
// fields stay, those of padding, of the alternative that is not selected and
// behind a NUL become zero.
func canonical(b []byte, l layout.Layout, all map[string]layout.Layout) []byte {
	alt := ""
	switch l.Name {
	case "scst_user_scsi_cmd_reply_parse":
		if alt = "sense"; b[0] == 0 {
			alt = "parsed"
		}
	case "scst_user_scsi_cmd_reply_exec":
		if alt = "sense"; b[16] == 2 {
			alt = "ws"
		}
	}
	out := make([]byte, l.Size)
	for _, p := range l.Placed {
		if p.Flex || p.Alt != "" && p.Alt != alt {
			continue
		}
		in := b[p.Off : p.Off+p.Size]
		switch p.Kind {
		case layout.Struct:
			in = canonical(in, all[p.Of], all)
		case layout.CStr:
			in = in[:p.Size-1]
			if i := bytes.IndexByte(in, 0); i >= 0 {
				in = in[:i]
			}
		}
		copy(out[p.Off:], in)
	}
	return out
}

func layoutsByName() map[string]layout.Layout {
	m := map[string]layout.Layout{}
	for _, l := range layout.Compute() {
		m[l.Name] = l
	}
	return m
}

// checkStruct checks decode and encode of one structure for these bytes.
func checkStruct(t rapid.TB, name string, b []byte, all map[string]layout.Layout) {
	x, y := codecs[name](), codecs[name]()
	if err := x.Decode(b); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	size := all[name].Size
	out := bytes.Repeat([]byte{0xA5}, size+8)
	if err := x.Encode(out); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if want := canonical(b, all[name], all); !bytes.Equal(out[:size], want) {
		t.Fatalf("%s: encode(decode) of\n% x is\n% x, want\n% x", name, b, out[:size], want)
	}
	if !bytes.Equal(out[size:], bytes.Repeat([]byte{0xA5}, 8)) {
		t.Fatalf("%s: written beyond the end", name)
	}
	if err := y.Decode(out); err != nil || !reflect.DeepEqual(x, y) {
		t.Fatalf("%s: decode(encode(x)) is %+v (%v), want %+v", name, y, err, x)
	}
}

// Every structure: fields survive, padding is ignored on the way in and zero
// on the way out, whatever is in it.
func TestR3StructsAndPoisonedPadding(t *testing.T) {
	all := layoutsByName()
	for name := range codecs {
		t.Run(name, func(t *testing.T) {
			size := all[name].Size
			checkStruct(t, name, bytes.Repeat([]byte{0xFF}, size), all)
			checkStruct(t, name, make([]byte, size), all)
			if codecs[name]().Decode(make([]byte, size-1)) != abi.ErrShort || codecs[name]().Encode(make([]byte, size-1)) != abi.ErrShort {
				t.Error("a byte too few was not refused")
			}
			rapid.Check(t, func(t *rapid.T) {
				b := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "bytes")
				// Both alternatives of the unions.
				if k := rapid.IntRange(0, 2).Draw(t, "selector"); k < 2 {
					switch name {
					case "scst_user_scsi_cmd_reply_parse":
						b[0] = byte(k)
					case "scst_user_scsi_cmd_reply_exec":
						b[16] = byte(k + 1)
					}
				}
				checkStruct(t, name, b, all)
			})
		})
	}
	for name, l := range all {
		if l.Go != "" && codecs[name] == nil {
			t.Errorf("%s is not tested", name)
		}
	}
}

func FuzzStructs(f *testing.F) {
	all := layoutsByName()
	f.Add(bytes.Repeat([]byte{0xFF}, abi.SizeSess))
	f.Add(make([]byte, abi.SizeSess))
	f.Fuzz(func(t *testing.T, b []byte) {
		for name := range codecs {
			if len(b) < all[name].Size {
				if codecs[name]().Decode(b) == nil {
					t.Errorf("%s decoded from %d bytes", name, len(b))
				}
				continue
			}
			checkStruct(t, name, b, all)
		}
	})
}
