package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"sync"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/cmd/dirpost/internal/systemd"
)

// openLog returns the logger that cfg asks for, and its level, which may be changed while it is in use.
func openLog(cfg config.Log, stderr io.Writer) (*slog.Logger, *slog.LevelVar, error) {
	level := new(slog.LevelVar)
	level.Set(cfg.SlogLevel())
	target := cfg.Target
	if f, ok := stderr.(*os.File); ok && target != "syslog" && systemd.ToJournal(f) {
		target = "journal"
	}
	var sink *lineSink
	switch target {
	case "journal":
		sink = &lineSink{emit: func(level slog.Level, line []byte) error {
			_, err := fmt.Fprintf(stderr, "<%d>%s", severity(level), line)
			return err
		}}
	case "syslog":
		w, err := syslog.New(syslog.LOG_MAIL|syslog.LOG_INFO, "dirpost")
		if err != nil {
			return nil, nil, fmt.Errorf("log.target: %w", err)
		}
		sink = &lineSink{emit: func(level slog.Level, line []byte) error { return toSyslog(w, level, string(line)) }}
	default:
		return slog.New(newHandler(cfg.Format, stderr, &slog.HandlerOptions{Level: level})), level, nil
	}
	lines := newHandler(cfg.Format, sink, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime})
	return slog.New(lineHandler{lines, sink}), level, nil
}

func newHandler(format string, w io.Writer, opts *slog.HandlerOptions) slog.Handler {
	if format == "json" {
		return slog.NewJSONHandler(w, opts)
	}
	return slog.NewTextHandler(w, opts)
}

// withoutTime leaves the time to who keeps the log.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// severity is the level as syslog and the journal number it (RFC 5424 section 6.2.1).
func severity(level slog.Level) syslog.Priority {
	switch {
	case level >= slog.LevelError:
		return syslog.LOG_ERR
	case level >= slog.LevelWarn:
		return syslog.LOG_WARNING
	case level >= slog.LevelInfo:
		return syslog.LOG_INFO
	}
	return syslog.LOG_DEBUG
}

func toSyslog(w *syslog.Writer, level slog.Level, line string) error {
	switch severity(level) {
	case syslog.LOG_ERR:
		return w.Err(line)
	case syslog.LOG_WARNING:
		return w.Warning(line)
	case syslog.LOG_INFO:
		return w.Info(line)
	}
	return w.Debug(line)
}

// A lineSink gives out finished lines together with their level, which the handler that makes them does not pass on.
type lineSink struct {
	emit func(slog.Level, []byte) error

	mu    sync.Mutex // guards level, and makes lines come one after the other
	level slog.Level
}

// Write is called by the handler within Handle, once for each line.
func (s *lineSink) Write(line []byte) (int, error) { return len(line), s.emit(s.level, line) }

// A lineHandler tells its sink the level of the line that comes.
type lineHandler struct {
	slog.Handler
	sink *lineSink
}

// Handle writes one line.
func (h lineHandler) Handle(ctx context.Context, r slog.Record) error {
	h.sink.mu.Lock()
	defer h.sink.mu.Unlock()
	h.sink.level = r.Level
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the sink.
func (h lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lineHandler{h.Handler.WithAttrs(attrs), h.sink}
}

// WithGroup keeps the sink.
func (h lineHandler) WithGroup(name string) slog.Handler {
	return lineHandler{h.Handler.WithGroup(name), h.sink}
}
