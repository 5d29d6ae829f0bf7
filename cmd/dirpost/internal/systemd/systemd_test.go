package systemd

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDescriptorNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		n    int
		text string
		want []string
	}{
		{"one for each", 2, "mx:imap", []string{"mx", "imap"}},
		{"the same for several", 2, "dirpost.socket:dirpost.socket", []string{"dirpost.socket", "dirpost.socket"}},
		{"fewer than there are", 3, "mx", []string{"mx", "unknown", "unknown"}},
		{"none", 1, "", []string{"unknown"}},
		{"more than there are", 1, "mx:imap", []string{"mx"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, descriptorNames(tt.n, tt.text)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// TestNotForUs: variables that a parent was given are not the child's. It changes the environment, so it runs alone.
func TestNotForUs(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("WATCHDOG_PID", "1")
	t.Setenv("WATCHDOG_USEC", "1000000")
	sockets, err := Listeners()
	if len(sockets) != 0 || err != nil {
		t.Errorf("Listeners = %v, %v; want none", sockets, err)
	}
	if n := NewNotifier(); n.Watchdog() != 0 || n.Ready("") != nil {
		t.Errorf("a watchdog of %v, want none", n.Watchdog())
	}
	if os.Getenv("LISTEN_FDS") != "" {
		t.Error("LISTEN_FDS is handed on")
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "30000000")
	n := NewNotifier()
	if got, want := n.Watchdog(), 30*time.Second; got != want {
		t.Errorf("watchdog %v, want %v", got, want)
	}
	for _, tt := range []struct {
		tell func() error
		want string // the first line, or the beginning of the second
	}{
		{func() error { return n.Ready("9 listeners") }, "READY=1\nSTATUS=9 listeners"},
		{n.Reloading, "RELOADING=1\nMONOTONIC_USEC="},
		{n.Alive, "WATCHDOG=1"},
		{n.Stopping, "STOPPING=1"},
	} {
		if err := tt.tell(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 200)
		l.SetReadDeadline(time.Now().Add(10 * time.Second))
		size, err := l.Read(buf)
		if got := string(buf[:size]); err != nil || !strings.HasPrefix(got, tt.want) {
			t.Errorf("systemd hears %q, %v; want %q", got, err, tt.want)
		}
	}
}

func example() Service {
	return Service{
		Program: "/usr/local/bin/dirpost", Config: "/etc/dirpost/dirpost.toml", User: "dirpost", Group: "dirpost",
		State: []string{"/var/lib/dirpost", "/var/cache/dirpost"}, Sockets: []string{"/run/dirpost", "/var/lib/dirpost/run"},
		Ports: []string{":25", "127.0.0.1:24", "[::1]:143", "localhost:110", "127.0.0.1:0", "broken"},
	}
}

func TestUnit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Service)
		want   []string
		not    []string
	}{
		{"the usual places", func(*Service) {}, []string{
			"User=dirpost\n", "Type=notify\n", "ExecStart=/usr/local/bin/dirpost --config /etc/dirpost/dirpost.toml serve\n",
			"RuntimeDirectory=dirpost\n", "RequiresMountsFor=/var/lib/dirpost /var/cache/dirpost\n", "ReadWritePaths=/var/lib/dirpost /var/cache/dirpost\n", "ProtectHome=yes\n", "PrivateTmp=yes\n",
			"NoNewPrivileges=yes\n", "CapabilityBoundingSet=\n", "SystemCallFilter=@system-service\n", "MemoryDenyWriteExecute=yes\n",
			"SystemCallFilter=~@privileged @resources\n", "Requires=dirpost.socket\nRequiresMountsFor=",
		}, nil},
		{"no port that systemd can open", func(s *Service) { s.Ports = []string{"localhost:25"} }, nil, []string{"Requires=dirpost.socket"}},
		{"mail below /home", func(s *Service) { s.State[0] = "/home/mail" }, []string{"PrivateTmp=yes\n"}, []string{"ProtectHome"}},
		{"a key below /tmp", func(s *Service) { s.Reads = []string{"/tmp/key"} }, []string{"ProtectHome=yes\n"}, []string{"PrivateTmp"}},
		{"/homes is not /home", func(s *Service) { s.State[0] = "/homes" }, []string{"ProtectHome=yes\n"}, nil},
		{"sockets elsewhere", func(s *Service) { s.Sockets = []string{"/srv/run"} },
			[]string{"ReadWritePaths=/var/lib/dirpost /var/cache/dirpost /srv/run\n"}, []string{"RuntimeDirectory"}},
		{"letters that mean something", func(s *Service) { s.Config = "/etc/my $100%/a" }, []string{`--config "/etc/my $$100%%/a" serve`}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := example()
			tt.change(&s)
			got := s.Unit()
			for _, part := range tt.want {
				if !strings.Contains(got, part) {
					t.Errorf("no %q in\n%s", part, got)
				}
			}
			for _, part := range tt.not {
				if strings.Contains(got, part) {
					t.Errorf("%q in\n%s", part, got)
				}
			}
		})
	}
}

func TestSocketListsAddresses(t *testing.T) {
	t.Parallel()
	var got []string
	for line := range strings.Lines(example().Socket()) {
		if addr, ok := strings.CutPrefix(line, "ListenStream="); ok {
			got = append(got, strings.TrimSpace(addr))
		}
	}
	if diff := cmp.Diff([]string{"25", "127.0.0.1:24", "[::1]:143"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestVerify has systemd itself read the units.
func TestVerify(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not here: the units were only compared with what they should say")
		return
	}
	dir := t.TempDir()
	s := example()
	s.Program, s.User, s.Group = "/bin/true", "root", "root" // these have to exist
	args := []string{"verify", "--man=no"}
	for name, text := range s.Files() {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	out, err := exec.Command(analyze, args...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
