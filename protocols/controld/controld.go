// Package controld serves what a running server says about itself, over HTTP: to programs that watch it, and to the
// commands of its administrator.
//
//	GET  /healthz    200 "ok", or 503 and a line for each reason
//	GET  /metrics    the numbers, for Prometheus
//	GET  /status     the state as JSON                                 for administrators only
//	POST /reload     read the configuration again; the answer is JSON  for administrators only
//	GET  /directory  a copy of the embedded directory as of now        for administrators only
//	GET  /queue      the messages in the queue as JSON                 for administrators only
//	POST /queue/ID/retry, /queue/ID/drop                               for administrators only
//
// Nobody is asked who he is. Watchers are let in by [Server.Serve], administrators by [Server.ServeAdmin], whose
// listener must be a unix socket that nobody else can open.
//
// Start reading at [Source], which is the server behind it.
package controld

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/protocols/metrics"
)

// A Source is the server that is asked. All functions may be called concurrently.
type Source struct {
	Health  func(context.Context) []string // reasons why the server is not well
	Status  func(context.Context) any      // what /status says, to be marshalled
	Metrics *metrics.Registry

	// Reload returns what /reload says, to be marshalled, or why everything stays as it is.
	Reload func(context.Context) (any, error)

	// Queue returns what /queue says, to be marshalled. Retry and Drop change one message; fs.ErrNotExist if there is none.
	Queue       func() any
	Retry, Drop func(id string) error

	// Snapshot writes a copy of the embedded directory: it calls begin with the size, then writes that much. nil = there
	// is none.
	Snapshot func(begin func(size int64) (io.Writer, error)) error
}

// Bounds of one listener.
const (
	maxConns       = 64
	maxHeaderBytes = 8 << 10
	readTime       = 10 * time.Second // of a request
	writeTime      = time.Minute      // for the client to take one part of an answer
	idleTime       = time.Minute      // between requests
)

// A Server answers on any number of listeners.
type Server struct {
	source          Source
	log             *slog.Logger
	watchers, admin *http.Server
}

// New returns a Server for source. log may be nil.
func New(source Source, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{source: source, log: log}
	open := func(mux *http.ServeMux) {
		mux.HandleFunc("GET /healthz", s.health)
		mux.HandleFunc("GET /metrics", s.metrics)
	}
	watchers, admin := http.NewServeMux(), http.NewServeMux()
	open(watchers)
	open(admin)
	admin.HandleFunc("GET /status", s.status)
	admin.HandleFunc("POST /reload", s.reload)
	admin.HandleFunc("GET /directory", s.directory)
	admin.HandleFunc("GET /queue", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, http.StatusOK, source.Queue()) })
	admin.HandleFunc("POST /queue/{id}/retry", s.change(source.Retry))
	admin.HandleFunc("POST /queue/{id}/drop", s.change(source.Drop))
	s.watchers, s.admin = s.server(watchers), s.server(admin)
	return s
}

func (s *Server) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:        h,
		ReadTimeout:    readTime,
		WriteTimeout:   writeTime,
		IdleTimeout:    idleTime,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// Serve answers watchers that come through l, until Shutdown. Its error is never nil: listen.ErrClosed after Shutdown.
func (s *Server) Serve(l net.Listener) error { return serve(s.watchers, l) }

// ServeAdmin answers administrators likewise.
func (s *Server) ServeAdmin(l net.Listener) error { return serve(s.admin, l) }

func serve(h *http.Server, l net.Listener) error {
	err := h.Serve(netutil.LimitListener(l, maxConns))
	if errors.Is(err, http.ErrServerClosed) {
		return listen.ErrClosed
	}
	return err
}

// Shutdown stops accepting and waits for the answers that are under way. If ctx ends first, connections are cut and
// ctx.Err() is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	var errs []error
	for _, h := range []*http.Server{s.watchers, s.admin} {
		err := h.Shutdown(ctx)
		if err != nil {
			h.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if reasons := s.source.Health(r.Context()); len(reasons) > 0 {
		http.Error(w, strings.Join(reasons, "\n"), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "ok\n")
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", metrics.ContentType)
	s.source.Metrics.WriteTo(w) // an error is the client's leaving
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	s.answer(w, http.StatusOK, s.source.Status(r.Context()))
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	said, err := s.source.Reload(r.Context())
	if err != nil {
		s.answer(w, http.StatusConflict, map[string]string{"error": err.Error()})
		return
	}
	s.answer(w, http.StatusOK, said)
}

// change makes a handler of a change to one message.
func (s *Server) change(do func(id string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		err := do(id)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			s.answer(w, http.StatusNotFound, map[string]string{"error": err.Error()})
		case err != nil:
			s.answer(w, http.StatusConflict, map[string]string{"error": err.Error()})
		default:
			s.answer(w, http.StatusOK, map[string]string{"id": id})
		}
	}
}

func (s *Server) answer(w http.ResponseWriter, code int, v any) {
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(v); err != nil {
		s.log.Error("status cannot be written", "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(text.Bytes())
}

// directory sends the copy with its size ahead, so that the client knows when it has not got all of it.
func (s *Server) directory(w http.ResponseWriter, _ *http.Request) {
	if s.source.Snapshot == nil {
		http.Error(w, "the directory is not embedded in this server", http.StatusNotFound)
		return
	}
	begun := false
	err := s.source.Snapshot(func(size int64) (io.Writer, error) {
		begun = true
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		return steady{w, http.NewResponseController(w)}, nil
	})
	if err == nil {
		return
	}
	s.log.Warn("copy of the directory failed", "err", err)
	if !begun {
		http.Error(w, "the directory cannot be copied now", http.StatusInternalServerError)
		return
	}
	panic(http.ErrAbortHandler) // cuts the connection: the client has got less than was promised
}

// steady gives a client time for each write, and not for the whole.
type steady struct {
	w       io.Writer
	control *http.ResponseController
}

// Write sends p.
func (s steady) Write(p []byte) (int, error) {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}
