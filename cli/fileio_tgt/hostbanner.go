package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"scstuser/ioctl/fusenode"
)

// hostBanner tells the operator once where handlers and clients go.
func hostBanner(cfg *config, s served) (string, error) {
	nodePath := filepath.Join(absolute(cfg.Host.Mount), fusenode.NodeName)
	if cfg.JSON {
		return hostBannerJSON(cfg, s, nodePath)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: a host for scst_user handlers\n\n", programName, version())
	fmt.Fprintf(&b, "  node      %s\n", oneLine(nodePath))
	if cfg.Host.Link != "" {
		fmt.Fprintf(&b, "  link      %s\n", oneLine(absolute(cfg.Host.Link)))
	}
	for _, l := range s.Listeners {
		fmt.Fprintf(&b, "  uri       %s\n", l.URI("NAME"))
	}
	if cfg.Host.Record != "" {
		fmt.Fprintf(&b, "  recording %s\n", oneLine(absolute(cfg.Host.Record)))
	}
	fmt.Fprintf(&b, "\na handler that registers NAME is exported as NAME\n\nstop with Ctrl-C or: kill %d\n", os.Getpid())
	return b.String(), nil
}

// jsonHostBanner is the banner for programs. Fields are added, never changed.
type jsonHostBanner struct {
	Program   string         `json:"program"`
	Version   string         `json:"version"`
	PID       int            `json:"pid"`
	Node      string         `json:"node"`
	Link      string         `json:"link,omitempty"`
	Listeners []jsonListener `json:"listeners"`
}

func hostBannerJSON(cfg *config, s served, nodePath string) (string, error) {
	x := jsonHostBanner{Program: programName, Version: version(), PID: os.Getpid(), Node: nodePath, Listeners: []jsonListener{}}
	if cfg.Host.Link != "" {
		x.Link = absolute(cfg.Host.Link)
	}
	for _, l := range s.Listeners {
		x.Listeners = append(x.Listeners, jsonListener(l))
	}
	text, err := json.Marshal(x)
	if err != nil {
		return "", fmt.Errorf("print what is served: %w", err)
	}
	return string(text) + "\n", nil
}
