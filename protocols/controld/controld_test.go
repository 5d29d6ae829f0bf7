package controld

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/protocols/metrics"
)

// start serves source on a loopback port for watchers and on a unix socket for administrators, and returns clients of
// both.
func start(t *testing.T, source Source) (s *Server, watcher, admin func(method, path string) (int, string, error)) {
	t.Helper()
	s = New(source, nil)
	served := make(chan error, 2)
	client := func(network, addr string, serve func(net.Listener) error) func(string, string) (int, string, error) {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		go func() { served <- serve(l) }()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
		}}
		t.Cleanup(transport.CloseIdleConnections)
		return func(method, path string) (int, string, error) { return ask(transport, method, path) }
	}
	watcher = client("tcp", "127.0.0.1:0", s.Serve)
	admin = client("unix", filepath.Join(t.TempDir(), "s"), s.ServeAdmin)
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for range 2 {
			if err := <-served; !errors.Is(err, listen.ErrClosed) {
				t.Errorf("Serve: %v, want ErrClosed", err)
			}
		}
	})
	return s, watcher, admin
}

func ask(transport http.RoundTripper, method, path string) (int, string, error) {
	req, err := http.NewRequest(method, "http://server"+path, nil)
	if err != nil {
		return 0, "", err
	}
	client := http.Client{Transport: transport, Timeout: 20 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// A mood is how a sample feels.
type mood struct {
	reasons []string
	fault   error
}

// sample is a source with all there is, in the mood that now holds when it is asked.
func sample(now *atomic.Pointer[mood]) Source {
	r := metrics.New()
	r.Counter("seen_total", "Seen.").Add(1)
	return Source{
		Health:  func(context.Context) []string { return now.Load().reasons },
		Status:  func(context.Context) any { return map[string]int{"pid": 7} },
		Metrics: r,
		Reload:  func(context.Context) (any, error) { return map[string]string{"restart": "listen.mx"}, now.Load().fault },
		Snapshot: func(begin func(int64) (io.Writer, error)) error {
			w, err := begin(10)
			if err != nil {
				return err
			}
			io.WriteString(w, "0123")
			if now.Load().fault == nil {
				_, err = io.WriteString(w, "456789")
			}
			return errors.Join(err, now.Load().fault)
		},
	}
}

// in returns a mood that does not change.
func in(fault error) *atomic.Pointer[mood] {
	now := new(atomic.Pointer[mood])
	now.Store(&mood{fault: fault})
	return now
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[mood]
	_, watcher, admin := start(t, sample(&now))
	tests := []struct {
		name    string
		ask     func(string, string) (int, string, error)
		method  string
		path    string
		reasons []string
		fault   error
		code    int
		body    string
	}{
		{"well", watcher, "GET", "/healthz", nil, nil, 200, "ok\n"},
		{"not well", watcher, "GET", "/healthz", []string{"disk is full", "directory is away"}, nil, 503, "disk is full\ndirectory is away\n"},
		{"numbers", watcher, "GET", "/metrics", nil, nil, 200, "# HELP seen_total Seen.\n# TYPE seen_total counter\nseen_total 1\n"},
		{"watchers learn no more", watcher, "GET", "/status", nil, nil, 404, "404 page not found\n"},
		{"nor change anything", watcher, "POST", "/reload", nil, nil, 404, "404 page not found\n"},
		{"nor copy passwords", watcher, "GET", "/directory", nil, nil, 404, "404 page not found\n"},
		{"administrators see health too", admin, "GET", "/healthz", nil, nil, 200, "ok\n"},
		{"state", admin, "GET", "/status", nil, nil, 200, "{\"pid\":7}\n"},
		{"reload", admin, "POST", "/reload", nil, nil, 200, "{\"restart\":\"listen.mx\"}\n"},
		{"a link does not reload", admin, "GET", "/reload", nil, nil, 405, "Method Not Allowed\n"},
		{"reload that fails", admin, "POST", "/reload", nil, errors.New("line 3"), 409, "{\"error\":\"line 3\"}\n"},
		{"directory", admin, "GET", "/directory", nil, nil, 200, "0123456789"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now.Store(&mood{tt.reasons, tt.fault})
			code, body, err := tt.ask(tt.method, tt.path)
			if err != nil || code != tt.code || body != tt.body {
				t.Errorf("%d %q, %v; want %d %q", code, body, err, tt.code, tt.body)
			}
		})
	}
}

// TestBrokenCopyIsNoticed: a copy that stops in the middle must not look like a whole one.
func TestBrokenCopyIsNoticed(t *testing.T) {
	t.Parallel()
	_, _, admin := start(t, sample(in(errors.New("disk"))))
	code, body, err := admin("GET", "/directory")
	if err == nil {
		t.Errorf("%d %q looks like a whole copy", code, body)
	}
}

func TestNoDirectory(t *testing.T) {
	t.Parallel()
	source := sample(in(nil))
	source.Snapshot = nil
	_, _, admin := start(t, source)
	if code, body, err := admin("GET", "/directory"); err != nil || code != 404 || !strings.Contains(body, "not embedded") {
		t.Errorf("%d %q, %v; want 404", code, body, err)
	}
}

// TestShutdownLetsAnswersEnd: who is being answered gets all of it.
func TestShutdownLetsAnswersEnd(t *testing.T) {
	t.Parallel()
	source := sample(in(nil))
	begun, release := make(chan struct{}), make(chan struct{})
	source.Status = func(context.Context) any {
		close(begun)
		<-release
		return "late"
	}
	s, _, admin := start(t, source)
	type answer struct {
		body string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		_, body, err := admin("GET", "/status")
		got <- answer{body, err}
	}()
	<-begun
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	select {
	case err := <-down:
		t.Fatalf("Shutdown returned %v before the answer", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	if a := <-got; a.err != nil || a.body != "\"late\"\n" {
		t.Errorf("got %q, %v; want the whole answer", a.body, a.err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
