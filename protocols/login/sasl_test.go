package login

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/protocols"
)

var unixPeer = protocols.Peer{ID: "test", Unix: true}

// deadDoor is a door whose directory is away: credentials that are complete end in ErrUnavailable.
func deadDoor(t testing.TB) *Door {
	t.Helper()
	c, err := client.New(client.Options{Dial: func(context.Context) (net.Conn, error) {
		return nil, errors.New("the directory is away")
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r := lookup.New(c, lookup.Options{Base: "dc=example,dc=org"})
	return New(r, auth.New(c, r, auth.Options{}), Options{FailureTime: time.Millisecond})
}

// exchanges are dialogues with the servers, up to the point where credentials are complete: they then meet the dead
// door. A response "-" is none (nil).
var exchanges = []struct {
	name, mechanism string
	responses       []string
	challenges      []string // those before the end
	want            error
}{
	{"PLAIN with initial response", "PLAIN", []string{"\x00alice\x00secret"}, nil, directory.ErrUnavailable},
	{"PLAIN without", "PLAIN", []string{"-", "\x00alice\x00secret"}, []string{""}, directory.ErrUnavailable},
	{"PLAIN with an authorization identity", "PLAIN", []string{"alice\x00alice\x00secret"}, nil, directory.ErrUnavailable},
	{"the name of a mechanism has no case", "plain", []string{"\x00alice\x00secret"}, nil, directory.ErrUnavailable},
	{"PLAIN, empty", "PLAIN", []string{""}, nil, ErrMalformed},
	{"PLAIN, empty after the prompt", "PLAIN", []string{"-", ""}, []string{""}, ErrMalformed},
	{"PLAIN, none after the prompt is empty", "PLAIN", []string{"-", "-"}, []string{""}, ErrMalformed},
	{"PLAIN, two fields", "PLAIN", []string{"alice\x00secret"}, nil, ErrMalformed},
	{"PLAIN, four fields", "PLAIN", []string{"\x00alice\x00secret\x00"}, nil, ErrMalformed},
	{"PLAIN, no password", "PLAIN", []string{"\x00alice\x00"}, nil, directory.ErrWrong},
	{"PLAIN, too long", "PLAIN", []string{"\x00alice\x00" + strings.Repeat("x", maxResponse)}, nil, ErrMalformed},
	{"PLAIN, the longest", "PLAIN", []string{strings.Repeat("x", maxName) + "\x00" + strings.Repeat("x", maxName) + "\x00" + strings.Repeat("x", maxPassword)}, nil, directory.ErrUnavailable},
	{"LOGIN with initial response", "LOGIN", []string{"alice", "secret"}, []string{"Password:"}, directory.ErrUnavailable},
	{"LOGIN without", "LOGIN", []string{"-", "alice", "secret"}, []string{"Username:", "Password:"}, directory.ErrUnavailable},
	{"LOGIN, no name", "LOGIN", []string{"-", "", "secret"}, []string{"Username:", "Password:"}, directory.ErrWrong},
	{"LOGIN, no password", "LOGIN", []string{"alice", ""}, []string{"Password:"}, directory.ErrWrong},
	{"LOGIN, all empty", "LOGIN", []string{"", "-"}, []string{"Password:"}, directory.ErrWrong},
	{"EXTERNAL without a certificate", "EXTERNAL", []string{""}, nil, directory.ErrWrong},
	{"EXTERNAL without initial response", "EXTERNAL", []string{"-", ""}, []string{""}, directory.ErrWrong},
	{"EXTERNAL with a NUL", "EXTERNAL", []string{"a\x00"}, nil, ErrMalformed},
}

func response(text string) []byte {
	if text == "-" {
		return nil
	}
	return []byte(text)
}

func TestExchanges(t *testing.T) {
	t.Parallel()
	door := deadDoor(t)
	for _, tt := range exchanges {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, err := door.SASL(t.Context(), unixPeer, directory.IMAP, tt.mechanism, func(directory.Identity) {
				t.Error("somebody was let in")
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range tt.responses {
				challenge, done, err := server.Next(response(text))
				if i < len(tt.challenges) {
					if string(challenge) != tt.challenges[i] || done || err != nil {
						t.Fatalf("response %d: %q, %v, %v, want %q", i, challenge, done, err, tt.challenges[i])
					}
					if len(challenge) == 0 && challenge != nil {
						t.Errorf("response %d: an empty challenge that is not nil, which go-imap writes as %q", i, "=")
					}
					continue
				}
				if !errors.Is(err, tt.want) || errors.Is(err, ErrMalformed) != (tt.want == ErrMalformed) || done {
					t.Fatalf("response %d: done %v, %v, want %v", i, done, err, tt.want)
				}
			}
			for _, late := range [][]byte{nil, {}, []byte("\x00alice\x00secret")} {
				if _, done, err := server.Next(late); done || !errors.Is(err, ErrMalformed) {
					t.Errorf("after the end: done %v, %v, want ErrMalformed", done, err)
				}
			}
		})
	}
}

// TestSASLRefusals: which exchange is not even begun.
func TestSASLRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, mechanism string
		peer            protocols.Peer
		want            error
	}{
		{"PLAIN in the clear", "PLAIN", protocols.Peer{}, ErrPrivacy},
		{"LOGIN in the clear", "login", protocols.Peer{}, ErrPrivacy},
		{"EXTERNAL in the clear is answered by the exchange", "EXTERNAL", protocols.Peer{}, nil},
		{"a mechanism we do not have", "CRAM-MD5", unixPeer, ErrMechanism},
		{"no mechanism", "", unixPeer, ErrMechanism},
	}
	door := deadDoor(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := door.SASL(t.Context(), tt.peer, directory.IMAP, tt.mechanism, nil); !errors.Is(err, tt.want) {
				t.Errorf("SASL: %v, want %v", err, tt.want)
			}
		})
	}
	clear := Credentials{Service: directory.IMAP, Login: "alice", Password: "secret"}
	if _, err := door.Authenticate(t.Context(), protocols.Peer{}, clear); !errors.Is(err, directory.ErrRefused) {
		t.Errorf("a password in the clear: %v, want ErrRefused before the directory is asked", err)
	}
}

// FuzzExchange feeds the servers any responses, split at newlines. Nobody gets in, nothing panics, and after the end
// there is nothing but errors.
func FuzzExchange(f *testing.F) {
	for _, tt := range exchanges {
		f.Add(tt.mechanism, []byte(strings.Join(tt.responses, "\n")))
	}
	door := deadDoor(f)
	f.Fuzz(func(t *testing.T, mechanism string, input []byte) {
		server, err := door.SASL(t.Context(), unixPeer, directory.IMAP, mechanism, func(directory.Identity) {
			t.Error("somebody was let in")
		})
		if err != nil {
			if !errors.Is(err, ErrMechanism) {
				t.Errorf("SASL: %v", err)
			}
			return
		}
		over := false
		for part := range bytes.SplitSeq(input, []byte("\n")) {
			_, done, err := server.Next(response(string(part)))
			if done || over && err == nil {
				t.Fatalf("Next(%q): done %v, %v after the end %v", part, done, err, over)
			}
			known := errors.Is(err, ErrMalformed) || errors.Is(err, directory.ErrWrong) || errors.Is(err, directory.ErrUnavailable)
			if err != nil && !known {
				t.Fatalf("Next(%q): %v is no answer of ours", part, err)
			}
			over = over || err != nil
		}
	})
}
