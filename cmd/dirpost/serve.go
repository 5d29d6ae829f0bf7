package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/cmd/dirpost/internal/systemd"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the server until SIGTERM or Ctrl-C",
		Description: `It starts, and keeps what it has, while the directory is away: clients are then told to try again.

Started as root it opens the ports, reads the keys and then becomes the user who owns the data folder.
SIGHUP is dirpost reload without an answer. It works under systemd, with sockets and watchdog, or by itself.

Examples:

   dirpost serve
   dirpost --config ./dirpost.toml serve`,
		Action: runServe,
	}
}

func runServe(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	reloads := make(chan os.Signal, 1)
	signal.Notify(reloads, syscall.SIGHUP) // first of all, since without it the signal would kill
	defer signal.Stop(reloads)
	p, err := configured(c)
	if err != nil {
		return err
	}
	all, err := p.start(c.Context)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(c.Context)
	defer end()
	var beside sync.WaitGroup
	beside.Go(func() { p.reloadOn(ctx, reloads) })
	beside.Go(func() { p.feedWatchdog(ctx) })
	beside.Go(func() { giveBack(ctx) })
	beside.Go(func() { p.sweep(ctx) })
	err = p.serve(ctx, all)
	end()
	beside.Wait()
	return err
}

// configured returns a platform as the configuration, the environment and systemd want it.
func configured(c *cli.Context) (*platform, error) {
	path, err := filepath.Abs(c.String("config"))
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	log, level, err := openLog(cfg.Log, c.App.ErrWriter)
	if err != nil {
		return nil, err
	}
	p := newPlatform(cfg, log)
	p.path, p.level, p.notify = path, level, systemd.NewNotifier()
	return p, p.inherit()
}

// start builds the platform and opens its ports. Root does no more of it than only root can.
func (p *platform) start(ctx context.Context) ([]bound, error) {
	if err := p.stepDown(ctx); err != nil {
		p.closeEarly()
		return nil, err
	}
	if err := p.build(); err != nil {
		p.closeEarly()
		return nil, err
	}
	all, err := p.listen(ctx)
	if err != nil {
		p.closeEarly()
		return nil, errors.Join(err, p.close(ctx))
	}
	return all, nil
}

func (p *platform) closeEarly() {
	for _, l := range p.takeEarly(func(early) bool { return true }) {
		l.Close()
	}
}

// shutdownTimeout is how long sessions may take to finish the command in hand.
const shutdownTimeout = 20 * time.Second

// serve answers on all listeners until ctx ends or one of them fails, then lets every session take its leave.
func (p *platform) serve(parent context.Context, all []bound) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var loops sync.WaitGroup
	for _, b := range all {
		p.log.Info("listening", "service", b.name, "addr", b.listener.Addr().String())
		loops.Go(func() {
			if err := b.serve(p.outermost(b)); ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", b.name, err))
			}
		})
	}
	p.tell(p.notify.Ready(fmt.Sprintf("listening at %d addresses", len(all))))
	<-ctx.Done()
	p.log.Info("stopping", "cause", context.Cause(ctx))
	p.tell(p.notify.Stopping())
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	grace, stop := context.WithTimeout(context.Background(), shutdownTimeout)
	defer stop()
	var ends sync.WaitGroup
	for _, e := range p.endpoints {
		if e.shutdown != nil {
			ends.Go(func() { _ = e.shutdown(grace) })
		}
	}
	ends.Wait()
	closed := p.close(grace)
	loops.Wait()
	if parent.Err() != nil {
		return closed // asked to stop
	}
	return errors.Join(context.Cause(ctx), closed)
}

func (p *platform) close(ctx context.Context) error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i](ctx))
	}
	p.closers = nil
	return errors.Join(errs...)
}

// tell logs that systemd could not be told something.
func (p *platform) tell(err error) {
	if err != nil {
		p.log.Warn("systemd does not hear", "err", err)
	}
}

// feedWatchdog tells systemd again and again that the server is alive, unless its own directory is stuck. A directory of
// others that is away is no reason to start anew.
func (p *platform) feedWatchdog(ctx context.Context) {
	every := p.notify.Watchdog() / 3
	if every <= 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := p.alive(ctx, every); ctx.Err() != nil {
			return // it was asked to stop, and does
		} else if err != nil {
			p.log.Error("the embedded directory does not answer", "err", err)
		} else {
			p.tell(p.notify.Alive())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *platform) alive(ctx context.Context, within time.Duration) error {
	if p.embedded == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return p.client.Ping(ctx)
}
