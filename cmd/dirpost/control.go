package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols/controld"
)

// errNotRunning says that no server answers at the control socket.
var errNotRunning = errors.New("the server does not answer")

// maxAnswer bounds what a server says about itself.
const maxAnswer = 16 << 20

// controlSource is what others may ask of this server.
func (p *platform) controlSource() controld.Source {
	source := controld.Source{
		Health:  p.health,
		Status:  func(ctx context.Context) any { return p.report(ctx) },
		Metrics: p.meters.registry,
		Reload:  func(context.Context) (any, error) { return p.reload() },
		Queue:   func() any { return queueViews(p.queue.Items()) },
		Retry:   p.queue.Retry,
		Drop:    p.queue.Drop,
	}
	if p.embedded != nil {
		source.Snapshot = p.embedded.tree.Backup
	}
	p.meters.watch(p)
	return source
}

// control asks the running server and reads its answer into v.
func control(c *cli.Context, method, path string, v any) error {
	cfg, err := config.Load(c.String("config"))
	if err != nil {
		return err
	}
	resp, err := askServer(c.Context, cfg, method, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(v)
}

// askServer asks the running server. The caller closes the body. What the server refuses is an error with its reason.
func askServer(ctx context.Context, cfg config.Config, method, path string) (*http.Response, error) {
	if cfg.Listen.Control == "" {
		return nil, errors.New("listen.control is empty: the server has no socket to be asked at")
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", cfg.Listen.Control)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://server"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return nil, fmt.Errorf("%w at %s: %w", errNotRunning, cfg.Listen.Control, dial.Err)
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	var refusal struct{ Error string }
	if json.Unmarshal(text, &refusal) == nil && refusal.Error != "" {
		if resp.StatusCode == http.StatusNotFound {
			return nil, fmt.Errorf("%w: %s", directory.ErrNotFound, refusal.Error)
		}
		return nil, errors.New(refusal.Error)
	}
	return nil, fmt.Errorf("the server says %s: %s", resp.Status, bytes.TrimSpace(text))
}
