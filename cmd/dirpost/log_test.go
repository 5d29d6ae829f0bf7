package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

func TestLogForTheJournal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  config.Log
		want string // a pattern for all that is logged
	}{
		{"on a terminal, with the time", config.Log{Level: "info", Format: "text"}, `^time=\S+ level=INFO msg=a conn=1\ntime=\S+ level=ERROR msg=b conn=1 g.x=2\n$`},
		{"for the journal, without, and the level in front", config.Log{Level: "debug", Format: "text", Target: "journal"},
			`^<7>level=DEBUG msg=d\n<6>level=INFO msg=a conn=1\n<3>level=ERROR msg=b conn=1 g\.x=2\n$`},
		{"the same as JSON", config.Log{Level: "error", Format: "json", Target: "journal"}, `^<3>{"level":"ERROR","msg":"b","conn":1,"g":{"x":2}}\n$`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			log, _, err := openLog(tt.cfg, &out)
			if err != nil {
				t.Fatal(err)
			}
			log.Debug("d")
			log = log.With("conn", 1)
			log.Info("a")
			log.WithGroup("g").Error("b", "x", 2)
			if !regexp.MustCompile(tt.want).MatchString(out.String()) {
				t.Errorf("got %q, want %s", out.String(), tt.want)
			}
		})
	}
}

// TestLogNoticesTheJournal: standard error may be it without anybody saying so in the configuration.
func TestLogNoticesTheJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stream")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]string{
		"1:1":                                   "time=",
		decimal(st.Dev) + ":" + decimal(st.Ino): "<4>level=WARN",
	} {
		t.Setenv("JOURNAL_STREAM", stream)
		log, _, err := openLog(config.Log{Level: "info", Format: "text", Target: "stderr"}, f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		log.Warn("w")
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(text), want) {
			t.Errorf("JOURNAL_STREAM=%s: %q, %v; want %q in front", stream, text, err, want)
		}
	}
}

func decimal(n uint64) string { return slog.Uint64Value(n).String() }

func TestLogLevelChanges(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, level, err := openLog(config.Log{Level: "warn", Format: "text", Target: "journal"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	derived := log.With("conn", 1)
	derived.Info("before")
	level.Set(slog.LevelInfo)
	derived.Info("after")
	if got, want := out.String(), "<6>level=INFO msg=after conn=1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
