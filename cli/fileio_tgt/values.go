package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// value ties one option to its field of a config: how the text of the command
// line is read into it, and how it is shown.
type value interface {
	// set reads text. Its error says what is allowed; the caller names the
	// option.
	set(text string) error
	// String is the field as one would type it.
	String() string
}

// switchValue is an option without an argument; "=false" turns it off.
type switchValue struct{ p *bool }

func (v switchValue) set(text string) error {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("must be true or false")
	}
	*v.p = b
	return nil
}

func (v switchValue) String() string { return strconv.FormatBool(*v.p) }

// textValue is any text but the empty one.
type textValue struct{ p *string }

func (v textValue) set(text string) error {
	if text == "" {
		return errors.New("must not be empty")
	}
	*v.p = text
	return nil
}

func (v textValue) String() string { return *v.p }

// listValue is an option that may be given several times. The first one
// replaces the default.
type listValue struct {
	p     *[]string
	given bool
}

func (v *listValue) set(text string) error {
	if text == "" {
		return errors.New("must not be empty")
	}
	if !v.given {
		v.given = true
		*v.p = nil
	}
	*v.p = append(*v.p, text)
	return nil
}

func (v *listValue) String() string { return strings.Join(*v.p, " ") }

// choiceValue is one word out of a few.
type choiceValue[T ~string] struct {
	p       *T
	allowed []T
}

func (v choiceValue[T]) set(text string) error {
	if !slices.Contains(v.allowed, T(text)) {
		return errors.New("must be " + orList(v.allowed))
	}
	*v.p = T(text)
	return nil
}

func (v choiceValue[T]) String() string { return string(*v.p) }

// orList is "a, b or c".
func orList[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// intValue is a decimal number from min to max.
type intValue struct {
	p        *int
	min, max int
}

func (v intValue) set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < v.min || n > v.max {
		return fmt.Errorf("must be a whole number from %d to %d", v.min, v.max)
	}
	*v.p = n
	return nil
}

func (v intValue) String() string { return strconv.Itoa(*v.p) }

// maskValue is a number that may also be written in hexadecimal (0x), octal
// (0) or binary (0b).
type maskValue struct {
	p   *uint64
	max uint64
}

func (v maskValue) set(text string) error {
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil || n > v.max {
		return fmt.Errorf("must be a number from 0 to %#x, such as 3 or 0x3", v.max)
	}
	*v.p = n
	return nil
}

func (v maskValue) String() string { return strconv.FormatUint(*v.p, 10) }

// octalValue is a number in octal, such as permissions.
type octalValue struct{ p *uint64 }

func (v octalValue) set(text string) error {
	n, err := strconv.ParseUint(text, 8, 16)
	if err != nil || n == 0 {
		return errors.New("must be a number in octal, such as 0660")
	}
	*v.p = n
	return nil
}

func (v octalValue) String() string { return "0" + strconv.FormatUint(*v.p, 8) }

// powerValue is a power of two from min to max, which are powers of two.
type powerValue struct {
	p        *int
	min, max int
}

func (v powerValue) set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < v.min || n > v.max || n&(n-1) != 0 {
		return fmt.Errorf("must be a power of two from %d to %d", v.min, v.max)
	}
	*v.p = n
	return nil
}

func (v powerValue) String() string { return strconv.Itoa(*v.p) }

// sizeValue is a number of bytes from min to max. A bare number counts units;
// with a suffix K, M, G or T (or KiB and so on) it counts those.
type sizeValue struct {
	p              *int64
	unit, min, max int64
	example        int64 // in bytes, a multiple of unit: for the error text
}

func (v sizeValue) set(text string) error {
	n, ok := parseSize(text, v.unit)
	if !ok || n < v.min || n > v.max {
		return fmt.Errorf("must be a size from %s to %s, such as %d or %s",
			compactSize(v.min), compactSize(v.max), v.example/v.unit, compactSize(v.example))
	}
	*v.p = n
	return nil
}

func (v sizeValue) String() string { return strconv.FormatInt(*v.p/v.unit, 10) }

// parseSize reads a size; ok is false for anything that is none, or does not
// fit 63 bits.
func parseSize(text string, unit int64) (n int64, ok bool) {
	digits := strings.TrimRight(text, "KMGTiBkmgtb")
	switch strings.ToUpper(text[len(digits):]) {
	case "":
	case "K", "KB", "KIB":
		unit = 1 << 10
	case "M", "MB", "MIB":
		unit = 1 << 20
	case "G", "GB", "GIB":
		unit = 1 << 30
	case "T", "TB", "TIB":
		unit = 1 << 40
	default:
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// compactSize is a size as parseSize reads it whatever the unit: 64M.
func compactSize(n int64) string {
	const units = "KMGT"
	suffix := ""
	for i := 0; n != 0 && n%1024 == 0 && i < len(units); i++ {
		n /= 1024
		suffix = units[i : i+1]
	}
	return strconv.FormatInt(n, 10) + suffix
}

// secondsValue is a whole number of seconds from min to max, as SCST's options
// count time.
type secondsValue struct {
	p        *time.Duration
	min, max int64
}

func (v secondsValue) set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < v.min || n > v.max {
		return fmt.Errorf("must be a whole number of seconds from %d to %d", v.min, v.max)
	}
	*v.p = time.Duration(n) * time.Second
	return nil
}

func (v secondsValue) String() string { return strconv.FormatInt(int64(*v.p/time.Second), 10) }

// durationValue is a time such as 90s or 1m30s, from min to max; a bare number
// counts seconds. With zeroOK, 0 is allowed too and means "without end".
type durationValue struct {
	p        *time.Duration
	min, max time.Duration
	zeroOK   bool
}

func (v durationValue) set(text string) error {
	d, err := time.ParseDuration(text)
	if n, numErr := strconv.ParseInt(text, 10, 32); numErr == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err == nil && (d >= v.min && d <= v.max || d == 0 && v.zeroOK) {
		*v.p = d
		return nil
	}
	or := ""
	if v.zeroOK {
		or = ", or 0"
	}
	return fmt.Errorf("must be a time from %s to %s, such as 10s or 1m30s%s",
		compactDuration(v.min), compactDuration(v.max), or)
}

func (v durationValue) String() string { return compactDuration(*v.p) }

// compactDuration is time.Duration.String without zero units at its end: 1h
// instead of 1h0m0s.
func compactDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// levelValue is a level of logrus, without those that end the process.
type levelValue struct{ p *logrus.Level }

// logLevels are the levels one may ask for, the quietest first.
var logLevels = []string{"error", "warn", "info", "debug", "trace"}

func (v levelValue) set(text string) error {
	if !slices.Contains(logLevels, text) {
		return errors.New("must be " + orList(logLevels))
	}
	level, err := logrus.ParseLevel(text)
	if err != nil {
		return err
	}
	*v.p = level
	return nil
}

func (v levelValue) String() string {
	if *v.p == logrus.WarnLevel {
		return "warn"
	}
	return v.p.String()
}

// byteCount is a sizeValue in bytes that shows itself with a suffix.
type byteCount struct{ sizeValue }

func (v byteCount) String() string { return compactSize(*v.p) }
