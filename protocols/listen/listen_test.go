package listen

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListenUnix(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		before func(t *testing.T, path string) // what is at the path already
		mode   fs.FileMode
		want   fs.FileMode // of the socket; 0 = refused
		err    error       // of the refusal, nil = any
	}{
		{"the default is for the owner", nothing, 0, 0o600, nil},
		{"the mode is exact, whatever the umask", nothing, 0o666, 0o666, nil},
		{"the socket of a dead process is replaced", deadSocket, 0o660, 0o660, nil},
		{"one that answers is left alone", liveSocket, 0, 0, ErrInUse},
		{"a file that is no socket is left alone", plainFile, 0, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			tt.before(t, path)
			l, err := Listen(t.Context(), "unix:"+path, tt.mode)
			if tt.want == 0 {
				if err == nil || tt.err != nil && !errors.Is(err, tt.err) {
					t.Fatalf("Listen: %v, want %v", err, tt.err)
				}
				if _, err := os.Lstat(path); err != nil {
					t.Errorf("the file is gone: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != tt.want {
				t.Errorf("mode %v, %v, want %v", info.Mode().Perm(), err, tt.want)
			}
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
}

func nothing(*testing.T, string) {}

func deadSocket(t *testing.T, path string) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func liveSocket(t *testing.T, path string) {
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func plainFile(t *testing.T, path string) {
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestListenRefusals(t *testing.T) {
	t.Parallel()
	taken, err := Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	tests := []struct {
		name, addr, want string
	}{
		{"a taken port is ErrInUse", taken.Addr().String(), ErrInUse.Error()},
		{"an address has a port", "127.0.0.1", "missing port"},
		{"the kernel's limit is named", "unix:/" + strings.Repeat("x", 107), "longer than the 107 octets"},
		{"a missing folder", "unix:" + filepath.Join(t.TempDir(), "no", "s"), "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := Listen(t.Context(), tt.addr, 0)
			if err == nil {
				l.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Listen(%q): %v, want %q", tt.addr, err, tt.want)
			}
		})
	}
}
