package sgv

import "math/bits"

// PageSize is the unit of the size classes, in bytes.
const PageSize = 4096

// Classes is how many size classes a pool has: 1, 2, 4 … 1024 pages (4 MiB).
const Classes = 11

// pagesOf is how many pages n bytes take, at least one.
func pagesOf(n int) int {
	if n <= 0 {
		return 1
	}
	return (n-1)/PageSize + 1
}

// classOf returns the class for n bytes and the pages of its objects; oneUse
// and whole pages above the largest class.
func (p *Pool) classOf(n int) (class, pages int) {
	pages = pagesOf(n)
	if s := p.opt.SinglePages; s > 0 {
		if pages > s {
			return oneUse, pages
		}
		return 0, s
	}
	class = bits.Len(uint(pages - 1))
	if class >= Classes {
		return oneUse, pages
	}
	return class, 1 << class
}

// AllocLen is how many bytes of memory a cached request for n bytes needs: the
// whole class, or whole pages above the largest class (rule R50).
func (p *Pool) AllocLen(n int) int {
	_, pages := p.classOf(n)
	return pages * PageSize
}
