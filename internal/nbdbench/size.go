package main

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// sizeUnits are the binary units, largest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
}

// parseSize reads a number of bytes such as 512MiB, 512M or 4096. The client
// needs whole requests of every size, so it has to be a multiple of 1 MiB.
func parseSize(text string) (int64, error) {
	errSize := errors.New("must be a whole number of MiB up to 1024GiB, such as 512MiB or 2GiB")
	number, factor := text, int64(1)
	for _, u := range sizeUnits {
		for _, suffix := range []string{u.name, u.name[:1]} {
			if n, ok := strings.CutSuffix(text, suffix); ok {
				number, factor = n, u.bytes
			}
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/factor {
		return 0, errSize
	}
	if n *= factor; n%(1<<20) != 0 || n > 1<<40 {
		return 0, errSize
	}
	return n, nil
}

// formatSize writes a number of bytes in the largest unit that divides it.
func formatSize(n int64) string {
	for _, u := range sizeUnits {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}
