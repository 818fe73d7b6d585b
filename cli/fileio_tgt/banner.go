package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"scstuser/nbd"
)

// served is what serve knows once clients can connect.
type served struct {
	// Exports are in the order of config.Exports.
	Exports []servedExport
	// Listeners are the places that are listened on, as bound: with the port
	// that a port of 0 has become.
	Listeners []nbd.ListenAddr
	// Node is where the disks are registered, "" if they are served here.
	Node string
	// Control is what signals act on from now on.
	Control control
	// Socket is the control socket and Metrics the URL of the metrics; "":
	// there is none.
	Socket, Metrics string
}

// servedExport is one export as clients see it.
type servedExport struct {
	Name string
	Path string // as the operator gave it
	Size int64  // bytes exported, a multiple of BlockSize
	// Tail is how many bytes of the file, behind the last whole block, are
	// not exported.
	Tail      int64
	BlockSize int // bytes
	ReadOnly  bool
}

// writeBanner tells the operator once, in one write, what is served.
func writeBanner(stdout io.Writer, cfg *config, s served) error {
	text := bannerText(cfg, s)
	switch {
	case cfg.Host.Mount != "":
		var err error
		if text, err = hostBanner(cfg, s); err != nil {
			return err
		}
	case cfg.JSON:
		var err error
		if text, err = bannerJSON(cfg, s); err != nil {
			return err
		}
	}
	if err := writeAll(stdout, text); err != nil {
		return fmt.Errorf("print what is served: %w", err)
	}
	return nil
}

// bannerText is the banner for people.
func bannerText(cfg *config, s served) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s %s\n", programName, version(), plural(len(s.Exports), "export"), s.way())
	for i, e := range s.Exports {
		fmt.Fprintf(&b, "\n%s\n", oneLine(e.Name))
		fmt.Fprintf(&b, "  file      %s\n", oneLine(absolute(e.Path)))
		fmt.Fprintf(&b, "  size      %s\n", exportSize(e))
		if e.Tail != 0 {
			fmt.Fprintf(&b, "  tail      the last %s of the file fill no block and are not exported\n", plural(int(e.Tail), "byte"))
		}
		fmt.Fprintf(&b, "  access    %s%s\n", access(e), s.defaultNote(i))
		for _, l := range s.Listeners {
			fmt.Fprintf(&b, "  uri       %s\n", uri(cfg, l, e.Name))
		}
	}
	b.WriteString("\noptions in force\n")
	writeWrapped(&b, "  ", strings.Join(optionsInForce(cfg), " "))
	if len(s.Exports) > 0 && len(s.Listeners) > 0 {
		fmt.Fprintf(&b, "\nconnect to %s with one of\n", oneLine(s.Exports[0].Name))
		for _, line := range connectLines(cfg, s.Listeners[0], s.Exports[0]) {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	if s.Socket != "" {
		fmt.Fprintf(&b, "\nlook inside with: %s status %d\n", programName, os.Getpid())
	}
	fmt.Fprintf(&b, "\nstop with Ctrl-C or: kill %d\n", os.Getpid())
	return b.String()
}

func exportSize(e servedExport) string {
	return fmt.Sprintf("%s (%d bytes), %s of %d bytes",
		humanSize(e.Size), e.Size, plural(int(e.Size/int64(e.BlockSize)), "block"), e.BlockSize)
}

func access(e servedExport) string {
	if e.ReadOnly {
		return "read-only"
	}
	return "read and write"
}

// way is how the exports are reached.
func (s *served) way() string {
	if s.Node != "" {
		return "at the node " + oneLine(s.Node)
	}
	return "over NBD"
}

func (s *served) defaultNote(i int) string {
	if i != 0 || s.Node != "" {
		return ""
	}
	return ", also as the default export"
}

// optionsInForce lists what the devices were made with, without what is off.
func optionsInForce(cfg *config) []string {
	var words []string
	for i := range options {
		opt := &options[i]
		if !opt.device || cfg.Device != "" && slices.Contains(notWithDevice, opt.name) {
			continue
		}
		switch text := opt.bind(cfg).String(); {
		case !opt.isSwitch() && text != "0":
			words = append(words, opt.name+"="+text)
		case text == "true":
			words = append(words, opt.name)
		}
	}
	return words
}

// The JSON banner. Names and meanings are part of the interface to programs:
// fields are added, never changed.
type (
	jsonBanner struct {
		Program   string            `json:"program"`
		Version   string            `json:"version"`
		PID       int               `json:"pid"`
		Exports   []jsonExport      `json:"exports"`
		Listeners []jsonListener    `json:"listeners"`
		Device    string            `json:"device,omitempty"`
		Options   map[string]string `json:"options"`
		Control   string            `json:"control,omitempty"`
		Metrics   string            `json:"metrics,omitempty"`
	}
	jsonExport struct {
		Name      string   `json:"name"`
		Default   bool     `json:"default"`
		Path      string   `json:"path"`
		Size      int64    `json:"size"`
		Tail      int64    `json:"tail"`
		BlockSize int      `json:"block_size"`
		ReadOnly  bool     `json:"read_only"`
		URIs      []string `json:"uris"`
	}
	jsonListener struct {
		Network string `json:"network"`
		Address string `json:"address"`
	}
)

// bannerJSON is the banner for programs: one object on one line.
func bannerJSON(cfg *config, s served) (string, error) {
	banner := jsonBanner{
		Program:   programName,
		Version:   version(),
		PID:       os.Getpid(),
		Exports:   make([]jsonExport, 0, len(s.Exports)),
		Listeners: make([]jsonListener, 0, len(s.Listeners)),
		Device:    s.Node,
		Options:   make(map[string]string),
		Control:   s.Socket,
		Metrics:   s.Metrics,
	}
	for i, e := range s.Exports {
		export := jsonExport{
			Name: e.Name, Default: i == 0, Path: absolute(e.Path), Size: e.Size, Tail: e.Tail,
			BlockSize: e.BlockSize, ReadOnly: e.ReadOnly, URIs: make([]string, 0, len(s.Listeners)),
		}
		for _, l := range s.Listeners {
			export.URIs = append(export.URIs, uri(cfg, l, e.Name))
		}
		banner.Exports = append(banner.Exports, export)
	}
	for _, l := range s.Listeners {
		banner.Listeners = append(banner.Listeners, jsonListener(l))
	}
	for i := range options {
		if opt := &options[i]; opt.device {
			banner.Options[opt.name] = opt.bind(cfg).String()
		}
	}
	text, err := json.Marshal(banner)
	if err != nil {
		return "", fmt.Errorf("print what is served: %w", err)
	}
	return string(text) + "\n", nil
}

// absolute is path from the root, if that can be told.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// humanSize is a size to read: "64 MiB", "1.5 GiB", "700 bytes".
func humanSize(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	if n < 1024 {
		return plural(int(n), "byte")
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	// At most two decimals, and none where they would be zero.
	text := strings.TrimRight(strings.TrimRight(strconv.FormatFloat(f, 'f', 2, 64), "0"), ".")
	return text + " " + units[unit]
}

// plural is "1 thing", "2 things".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
