package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// maxAnswer bounds what a Client takes: a device's 65536 ucmds are some 15 MiB.
const maxAnswer = 256 << 20

// clientTimeout is how long an answer may take.
const clientTimeout = 30 * time.Second

// Client asks a process by its control socket. Close it in the end.
type Client struct {
	path string
	http *http.Client
}

// NewClient makes a client for the socket at path. Nothing is connected yet.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{
		Timeout: clientTimeout, Transport: &http.Transport{DialContext: dial, MaxIdleConns: 1},
	}}
}

// Close gives up the connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks for a Snapshot; commands: with the ucmds of all devices.
func (c *Client) Status(ctx context.Context, commands bool) (*Snapshot, error) {
	path := "/status"
	if commands {
		path += "?commands=1"
	}
	text, err := c.Get(ctx, path)
	if err != nil {
		return nil, err
	}
	s := new(Snapshot)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("control socket %s: what it says is no status: %w", c.path, err)
	}
	if s.Format != Format {
		return nil, fmt.Errorf("control socket %s: its status has format %d, not %d: use the program of the same version",
			c.path, s.Format, Format)
	}
	return s, nil
}

// Commands asks for a device's commands listing in the module's format (R73).
func (c *Client) Commands(ctx context.Context, device string) (string, error) {
	text, err := c.Get(ctx, "/devices/"+url.PathEscape(device)+"/commands")
	return string(text), err
}

// Get asks for any path that ControlHandler knows.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", c.path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, c.explain(err)
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("control socket %s: the answer has more than %d bytes", c.path, maxAnswer)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("control socket %s: %s: %s", c.path, resp.Status, strings.TrimSpace(string(text)))
	}
	return text, nil
}

// explain says what an error of the network means for a control socket.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no control socket %s: has its process ended, or was it started with --control none?", c.path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody answers on the control socket %s: its process has ended", c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the control socket %s is another user's: ask as that user, or as root", c.path)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("control socket %s: %w", c.path, err)
}
