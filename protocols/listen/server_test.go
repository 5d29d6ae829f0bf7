package listen

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// echo answers lines, says goodbye when the server drains, and panics on demand.
func echo(_ context.Context, c net.Conn) {
	lines := bufio.NewReader(c)
	for {
		line, err := lines.ReadString('\n')
		switch {
		case errors.Is(err, ErrDraining):
			io.WriteString(c, "bye\n")
			return
		case err != nil:
			return
		case line == "panic\n":
			panic(line)
		}
		io.WriteString(c, line)
	}
}

func say(t *testing.T, c net.Conn, line, want string) {
	t.Helper()
	if _, err := io.WriteString(c, line); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(c).ReadString('\n'); got != want {
		t.Fatalf("%q was answered %q, %v, want %q", line, got, err, want)
	}
}

func TestServer(t *testing.T) {
	t.Parallel()
	var sessions atomic.Int32
	srv := New(func(ctx context.Context, c net.Conn) {
		sessions.Add(1)
		defer sessions.Add(-1)
		echo(ctx, c)
	}, Options{})
	served := make(chan error, 3)
	var listeners []net.Listener
	for range 2 {
		l, err := Listen(t.Context(), "127.0.0.1:0", 0)
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		go func() { served <- srv.Serve(l) }()
	}
	one, two := dial(t, listeners[0], "127.0.0.1"), dial(t, listeners[1], "127.0.0.1")
	say(t, one, "hello\n", "hello\n")
	say(t, two, "panic\n", "") // ends that session and no other
	say(t, one, "still there\n", "still there\n")
	inside, outside := net.Pipe()
	go srv.ServeConn(inside)
	say(t, outside, "in house\n", "in house\n")

	heard := make(chan string, 2)
	for _, c := range []net.Conn{one, outside} {
		go func() {
			line, _ := bufio.NewReader(c).ReadString('\n')
			heard <- line
		}()
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := sessions.Load(); n != 0 {
		t.Errorf("%d sessions after Shutdown", n)
	}
	for range 2 {
		if got := <-heard; got != "bye\n" {
			t.Errorf("an idle session heard %q, want its bye", got)
		}
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve: %v, want ErrClosed", err)
		}
	}
	late, _ := net.Listen("tcp", "127.0.0.1:0")
	if err := srv.Serve(late); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Shutdown: %v, want ErrClosed", err)
	}
	inside, outside = net.Pipe()
	srv.ServeConn(inside)
	if _, err := outside.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("ServeConn after Shutdown left the connection open: %v", err)
	}
}

// TestShutdownWaits: a session that has closed its connection may still have something to do.
func TestShutdownWaits(t *testing.T) {
	t.Parallel()
	closed, release := make(chan struct{}), make(chan struct{})
	srv := New(func(_ context.Context, c net.Conn) {
		c.Close()
		close(closed)
		<-release
	}, Options{})
	inside, _ := net.Pipe()
	go srv.ServeConn(inside)
	<-closed
	down := make(chan error, 1)
	go func() { down <- srv.Shutdown(context.Background()) }()
	select {
	case err := <-down:
		t.Fatalf("Shutdown returned %v before the session", err)
	case <-time.After(short):
	}
	close(release)
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestServeError: a listener that breaks ends its loop with the reason.
func TestServeError(t *testing.T) {
	t.Parallel()
	l, err := Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	srv := New(echo, Options{})
	if err := srv.Serve(l); !errors.Is(err, net.ErrClosed) || errors.Is(err, ErrClosed) {
		t.Errorf("Serve: %v, want net.ErrClosed", err)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestOwnConnectionsAreBeyondTheLimits: who takes all the places does not shut out the server's own parts.
func TestOwnConnectionsAreBeyondTheLimits(t *testing.T) {
	t.Parallel()
	srv := New(echo, Options{MaxConns: 1})
	defer srv.Shutdown(t.Context())
	for range 3 {
		outside, inside := net.Pipe()
		defer outside.Close()
		go srv.ServeConn(inside)
		say(t, outside, "x\n", "x\n")
	}
}
