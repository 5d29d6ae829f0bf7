package systemd

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Service is what the units have to know of an installation. Paths are absolute.
type Service struct {
	Program string // the binary
	Config  string // dirpost.toml
	User    string // whom it runs as
	Group   string
	State   []string // folders that it writes to
	Sockets []string // folders of its sockets; one directly below /run is made at the start and removed at the stop
	Reads   []string // what it reads beside that, such as keys
	Ports   []string // host:port of what systemd opens for it
}

// serviceText runs the server with no more than it needs: it writes to its folders and nowhere else, has no
// capabilities, and sees neither homes nor devices. It is started anew as often as it takes: a limit of starts would shut
// the ports too, with the mail of everybody outside. What is not in it for a reason:
//
//   - PrivateUsers would hide from the unix sockets who their clients are,
//   - ProcSubset=pid would hide which boot of the machine this is, which mailboxes ask after a crash.
const serviceText = `# Written by dirpost. Settings of your own go into a drop-in: systemctl edit dirpost.service
[Unit]
Description=dirpost mail server
Documentation=man:dirpost(8)
After=network.target nss-lookup.target slapd.service
%sRequiresMountsFor=%s
StartLimitIntervalSec=0

[Service]
Type=notify
User=%s
Group=%s
ExecStart=%s --config %s serve
ExecReload=%s --config %s reload
Sockets=dirpost.socket
Restart=on-failure
RestartSec=2s
WatchdogSec=1min
TimeoutStopSec=40s
LimitNOFILE=65536
SyslogFacility=mail
UMask=0077
%s
ProtectSystem=strict
ReadWritePaths=%s
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
Also=dirpost.socket
`

// socketText has FreeBind because the address of a port may be there only after the port at the start of the machine.
const socketText = `# Written by dirpost: systemd opens the ports, since the server may not. The server takes from here what its
# configuration names, so a port that is changed there is to be changed here too (dirpost systemd socket prints this anew).
[Unit]
Description=dirpost mail server: its ports

[Socket]
%sFreeBind=yes
Service=dirpost.service

[Install]
WantedBy=sockets.target
`

// Unit returns the text of dirpost.service.
func (s Service) Unit() string {
	var more, runtime []string
	writable := slices.Clone(s.State)
	for _, folder := range s.Sockets {
		name, ok := strings.CutPrefix(folder, "/run/")
		switch {
		case ok && !strings.Contains(name, "/"):
			runtime = append(runtime, quote(name, false))
		case !below(s.State...)(folder):
			writable = append(writable, folder)
		}
	}
	if len(runtime) > 0 {
		more = append(more, "RuntimeDirectory="+strings.Join(runtime, " "))
	}
	paths := slices.Concat(writable, s.Reads, []string{s.Program, s.Config})
	if !slices.ContainsFunc(paths, below("/home", "/root", "/run/user")) {
		more = append(more, "ProtectHome=yes")
	}
	if !slices.ContainsFunc(paths, below("/tmp", "/var/tmp")) {
		more = append(more, "PrivateTmp=yes")
	}
	program, config := quote(s.Program, true), quote(s.Config, true)
	needs := ""
	if s.streams() != "" { // without the ports there is no service, and who cannot have them is told by their unit which
		needs = "Requires=dirpost.socket\n"
	}
	return fmt.Sprintf(serviceText, needs, quoted(s.State), s.User, s.Group, program, config, program, config,
		strings.Join(more, "\n"), quoted(writable))
}

func quoted(paths []string) string {
	var words []string
	for _, p := range paths {
		words = append(words, quote(p, false))
	}
	return strings.Join(words, " ")
}

// below tells whether a path lies in one of the folders.
func below(folders ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
	}
}

// Socket returns the text of dirpost.socket.
func (s Service) Socket() string { return fmt.Sprintf(socketText, s.streams()) }

// streams lists the ports for systemd. An address that names its host by a name is left out: systemd knows none.
func (s Service) streams() string {
	var b strings.Builder
	for _, addr := range s.Ports {
		host, port, err := net.SplitHostPort(addr)
		if _, number := strconv.ParseUint(port, 10, 16); err != nil || number != nil || port == "0" {
			continue
		}
		if host == "" {
			fmt.Fprintf(&b, "ListenStream=%s\n", port)
		} else if _, err := netip.ParseAddr(host); err == nil {
			fmt.Fprintf(&b, "ListenStream=%s\n", addr)
		}
	}
	return b.String()
}

// quote writes a word of a unit file (systemd.syntax(7)): "%" begins a specifier, and "$" a variable in a command.
func quote(word string, command bool) string {
	word = strings.ReplaceAll(word, "%", "%%")
	if command {
		word = strings.ReplaceAll(word, "$", "$$")
	}
	plain := func(r rune) bool {
		return r > ' ' && r != '"' && r != '\'' && r != '\\' && r != ';' && r != '#'
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return strconv.Quote(word)
}

// Files are the two units by the names of their files.
func (s Service) Files() map[string]string {
	return map[string]string{"dirpost.service": s.Unit(), "dirpost.socket": s.Socket()}
}

// Folder is where units of the administrator lie.
const Folder = "/etc/systemd/system"
