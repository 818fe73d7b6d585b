package fusenode

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"

	"scstuser/ucmd"
)

// deviceDir is devices/NAME.
func (t *tree) deviceDir(d *ucmd.Device) *dir {
	return &dir{list: func() []child {
		return []child{
			{"commands", func() fs.InodeEmbedder {
				return &textFile{show: func() (string, syscall.Errno) { return commandsText(d), 0 }}
			}, syscall.S_IFREG},
			text("type", func() string { return typeText(d) }),
			text("block_size", func() string { return fmt.Sprint(d.Desc().BlockSize) }),
			{"size", func() fs.InodeEmbedder {
				return &textFile{show: func() (string, syscall.Errno) { return t.sizeText(d) }}
			}, syscall.S_IFREG},
			text("stats", func() string { return statsText(d) }),
			{"sessions", func() fs.InodeEmbedder { return sessionsDir(d) }, syscall.S_IFDIR},
			{"lun", func() fs.InodeEmbedder { return &lunNode{disk: t.disk(d)} }, syscall.S_IFREG},
		}
	}}
}

// commandsText is the module's listing (rule R73).
func commandsText(d *ucmd.Device) string {
	var b strings.Builder
	_ = d.WriteCommands(&b) // a Builder takes everything
	return b.String()
}

// typeNames are SCST's names of peripheral device types.
var typeNames = map[ucmd.DeviceType]string{
	0: "Direct-access device (e.g., magnetic disk)", 1: "Sequential-access device (e.g., magnetic tape)",
	3: "Processor device", 5: "CD-ROM device", 7: "Optical memory device (e.g., some optical disks)",
	8: "Medium changer device (e.g., jukeboxes)", 0xc: "Storage array controller device",
}

func typeText(d *ucmd.Device) string {
	t := d.Desc().Type
	if s := typeNames[t]; s != "" {
		return fmt.Sprintf("%d - %s", t, s)
	}
	return fmt.Sprint(t)
}

// sizeText asks the device for its size in bytes.
func (t *tree) sizeText(d *ucmd.Device) (string, syscall.Errno) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	size, err := t.disk(d).size(ctx)
	if err != nil {
		return "", errnoOf(err)
	}
	return fmt.Sprintf("%d\n", size), 0
}

// statsText counts what the device has to do with now.
func statsText(d *ucmd.Device) string {
	var sent, ready, idle int
	for _, c := range d.Commands() {
		switch {
		case c.Sent:
			sent++
		case c.HasCmd || c.State == ucmd.StateOnFreeing || c.State == ucmd.StateOnCacheFreeing:
			ready++
		default:
			idle++
		}
	}
	return fmt.Sprintf("sessions %d\nsent_to_user %d\nwaiting %d\nbuffer_owners %d", len(d.Target().Sessions()), sent, ready, idle)
}

// sessionsDir has a file for each initiator, by its sess_h.
func sessionsDir(d *ucmd.Device) *dir {
	return &dir{list: func() (l []child) {
		for _, s := range d.Target().Sessions() {
			l = append(l, text(fmt.Sprint(s.Handle()), func() string {
				return fmt.Sprintf("initiator %s\ntarget %s\nlun %d\nread_only %t\ncommands %d",
					s.Info.Initiator, s.Info.Target, s.Info.LUN, s.Info.ReadOnly, s.Inflight())
			}))
		}
		return l
	}}
}
