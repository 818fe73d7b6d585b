package vm

import (
	"bytes"
	"context"
	"fmt"

	"scstuser/internal/vm/wire"
)

// ReadFile returns the content of a file in the guest. It is not meant for
// large ones: put those on a disk.
func (m *Machine) ReadFile(ctx context.Context, path string) ([]byte, error) {
	var content safeBuffer
	err := m.link.call(ctx, wire.Request{Op: wire.Read, Path: path}, func(part []byte) { content.add(part) })
	if err != nil {
		return nil, fmt.Errorf("read %s in the guest: %w", path, err)
	}
	return bytes.Clone(content.bytes()), nil
}

// WriteFile writes a file in the guest, with the permissions mode, and makes the
// directories above it. It does not flush it to a disk.
func (m *Machine) WriteFile(ctx context.Context, path string, data []byte, mode uint32) error {
	for offset := 0; ; {
		part := data[offset:min(len(data), offset+wire.Chunk)]
		req := wire.Request{Op: wire.Write, Path: path, Mode: mode, Offset: int64(offset), Data: part}
		if err := m.link.call(ctx, req, nil); err != nil {
			return fmt.Errorf("write %s in the guest: %w", path, err)
		}
		if offset += len(part); offset >= len(data) {
			return nil
		}
	}
}
