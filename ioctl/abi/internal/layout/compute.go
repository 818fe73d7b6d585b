package layout

// Placed is a field with its place.
type Placed struct {
	Field
	Off, Size int
}

// Layout is a structure's size, alignment and placed fields.
type Layout struct {
	Struc
	Size, Align int
	Placed      []Placed
}

// Compute lays all structures out as a C compiler for x86-64 does.
func Compute() []Layout {
	done := map[string]Layout{}
	out := make([]Layout, 0, len(Structs))
	for _, s := range Structs {
		l := place(s, done)
		done[s.Name] = l
		out = append(out, l)
	}
	return out
}

// place lays one structure out: its plain fields one after the other; fields
// with an Alt, which stand side by side, as one union of structures.
func place(s Struc, done map[string]Layout) Layout {
	l := Layout{Struc: s, Align: 1}
	union := 1
	for _, f := range s.Fields {
		if _, a := measure(f, done); f.Alt != "" {
			union = max(union, a)
		}
	}
	off, start, end, alt := 0, -1, 0, ""
	for _, f := range s.Fields {
		size, align := measure(f, done)
		switch {
		case f.Alt == "":
			if start >= 0 {
				panic("layout: " + s.Name + ": a plain field after a union")
			}
		case start < 0:
			start = up(off, union)
			off, alt = start, f.Alt
		case f.Alt != alt:
			off, alt = start, f.Alt
		}
		off = up(off, align)
		l.Placed = append(l.Placed, Placed{f, off, size})
		if !f.Flex {
			off += size
		}
		end = max(end, off)
		l.Align = max(l.Align, align)
	}
	l.Size = up(end, l.Align)
	return l
}

// measure is a field's size and alignment in bytes.
func measure(f Field, done map[string]Layout) (size, align int) {
	switch f.Kind {
	case U8:
		return 1, 1
	case U16, I16:
		return 2, 2
	case U32, I32:
		return 4, 4
	case U64, I64, Addr:
		return 8, 8
	case CDB:
		return 16, 1
	case CStr:
		return f.N, 1
	}
	l, ok := done[f.Of]
	if !ok {
		panic("layout: " + f.Name + ": no structure " + f.Of + " yet")
	}
	if f.Flex {
		return 0, l.Align
	}
	return l.Size, l.Align
}

// up rounds n up to a multiple of a.
func up(n, a int) int { return (n + a - 1) / a * a }

// Number is an ioctl number as _IOC makes it of its parts.
func (i Ioctl) Number(layouts []Layout) uint32 {
	dir := map[string]uint32{"": 0, "W": 1, "R": 2, "WR": 3}[i.Dir]
	size := 0
	for _, l := range layouts {
		if l.Name == i.Arg {
			size = l.Size
		}
	}
	return dir<<30 | uint32(size)<<16 | uint32(i.Type)<<8 | uint32(i.Nr)
}
