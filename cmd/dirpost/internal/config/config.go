// Package config reads dirpost.toml. It is strict: an unknown key is an error with its line and the key that was
// probably meant, a missing or contradictory one says what to write. The commented example that `dirpost config example`
// prints is generated from the structs of this package, so it cannot be out of date.
//
// Start reading at [Config]; decode.go reads a file, example.go writes the example.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/profile"
)

// A Config is the whole of dirpost.toml. Relative paths count from the folder of the file.
type Config struct {
	Hostname string `toml:"hostname" doc:"The name of this server in greetings, Received lines and certificates."`
	Data     string `toml:"data" doc:"What cannot be rebuilt: the embedded directory, keys and homes. One server at a time."`
	Cache    string `toml:"cache" doc:"What comes back by itself: mailbox indexes. May be deleted while the server is stopped."`

	Directory Directory `toml:"directory" doc:"Who is who. The embedded directory, or an LDAP server of your own."`
	Listen    Listen    `toml:"listen" doc:"Where the server answers: host:port, :port, or unix:/path. An empty list switches a service off."`
	TLS       []KeyPair `toml:"tls" doc:"Server certificates. The first is the default, others are chosen by the name the client asks for."`
	Limits    Limits    `toml:"limits" doc:"Bounds on what others may ask of this server."`
	Log       Log       `toml:"log" doc:"What is logged, how and where to. There are no files to rotate: the journal and syslog keep their own."`
}

// Directory says which LDAP server holds the identities.
type Directory struct {
	Embedded     bool     `toml:"embedded" doc:"true: dirpost runs its own LDAP server on files below data. false: the servers of uris."`
	Base         string   `toml:"base" doc:"Suffix of the tree."`
	URIs         []string `toml:"uris" doc:"LDAP servers in order of preference: ldapi:/// of this machine or ldapi:///path, ldaps://host, or ldap://host with start_tls. Not used when embedded."`
	StartTLS     bool     `toml:"start_tls" doc:"Protect ldap:// by StartTLS. Clear text is used on loopback only."`
	CA           string   `toml:"ca" doc:"Certificates (PEM) that the LDAP servers are checked against. Empty: those of the system."`
	BindDN       string   `toml:"bind_dn" doc:"The service entry dirpost searches as. Empty: cn=frontend,ou=services below base."`
	PasswordFile string   `toml:"password_file" doc:"File with the password of bind_dn, readable by dirpost only. Empty: SASL EXTERNAL over ldapi."`
	Timeout      Duration `toml:"timeout" doc:"Longest wait for one answer."`

	Locals map[string]string `toml:"locals" doc:"Accounts of this machine whose programs are an entry of the embedded directory when they bind by EXTERNAL over listen.ldapi, without a password. Root and dirpost's own account are administrators there anyhow. Example: { www-data = \"cn=web,ou=services,dc=example,dc=org\" }."`

	Profile    string              `toml:"profile" doc:"What the servers of uris call things: openldap (as the schema of dirpost does), 389ds, freeipa, ad or qmail. dirpost directory check tells what such a server lacks."`
	Domains    []string            `toml:"domains" doc:"Mail domains that are ours although the directory has no entries of them: those of freeipa, ad and qmail have none."`
	Attributes map[string]string   `toml:"attributes" doc:"Attributes that the profile has not right for this site: our name = \"their names, with commas between them\", each perhaps with how its values are written; \"-\" for none. Example: { mailLocalAddress = \"mail, proxyAddresses smtp:\" }."`
	Classes    map[string]string   `toml:"classes" doc:"Likewise object classes: our name = \"their class\", with !CLASS for one that the entry must not have and ATTRIBUTE=* for what it must have. Example: { dpMailAccount = \"user !computer mail=*\" }."`
	Defaults   map[string][]string `toml:"defaults" doc:"Values of our attributes for accounts whose entries have none. Example: { dpMailService = [\"imap\", \"submission\"] }."`
}

// Names returns what the servers call things.
func (d Directory) Names() (*profile.Profile, error) {
	name := d.Profile
	if d.Embedded {
		name = profile.Embedded
	}
	return profile.New(name, profile.Changes{Attributes: d.Attributes, Classes: d.Classes, Defaults: d.Defaults})
}

// Listen has the addresses of each listener.
type Listen struct {
	MX          []string `toml:"mx" doc:"Mail from other servers, SMTP with STARTTLS. Usually :25."`
	Submission  []string `toml:"submission" doc:"Mail from our users, SMTP with STARTTLS and AUTH. Usually :587."`
	Submissions []string `toml:"submissions" doc:"The same over implicit TLS. Usually :465."`
	LMTP        []string `toml:"lmtp" doc:"Mail from an MTA of your own, for local mailboxes only. Never on a public address: it asks nobody who he is."`
	IMAP        []string `toml:"imap" doc:"IMAP with STARTTLS. Usually :143."`
	IMAPS       []string `toml:"imaps" doc:"IMAP over implicit TLS. Usually :993."`
	LDAP        []string `toml:"ldap" doc:"The embedded directory with StartTLS, for directory tools. Loopback unless you know better."`
	LDAPS       []string `toml:"ldaps" doc:"The same with TLS from the start. Empty: not served."`
	LDAPI       string   `toml:"ldapi" doc:"Unix socket of the embedded directory. dirpost's own commands use it."`
	Status      []string `toml:"status" doc:"/healthz and /metrics (Prometheus) over HTTP. Never on a public address: it asks nobody who he is."`
	Forwarders  []string `toml:"forwarders" doc:"Addresses and networks (192.0.2.7, 10.0.0.0/8) of forwarders such as HAProxy. Their connections must begin with a header of the PROXY protocol (version 1 or 2) and count as those of the client it names; nobody else may send one. A client of theirs is never local: he needs TLS to send a password."`
	Forwarded   []string `toml:"forwarded" doc:"The listeners above for which forwarders holds. Programs on a forwarder's own machine cannot use these without a header."`
	Control     string   `toml:"control" doc:"Unix socket of dirpost status, reload and backup, for root and the user the server runs as. Empty: none of the three works."`
}

// A KeyPair is a certificate chain and its private key, both PEM.
type KeyPair struct {
	Cert string `toml:"cert" doc:"Certificate, then the intermediate ones."`
	Key  string `toml:"key" doc:"Private key, readable by dirpost only."`
}

// Limits bound messages and connections.
type Limits struct {
	MessageBytes       int64    `toml:"message_bytes" doc:"Largest message."`
	Recipients         int      `toml:"recipients" doc:"Recipients of one message."`
	QuotaWarnings      []int    `toml:"quota_warnings" doc:"Percentages of a quota at which the owner of a mailbox gets a letter, in rising order."`
	Connections        int      `toml:"connections" doc:"Connections of one service."`
	ConnectionsPerPeer int      `toml:"connections_per_peer" doc:"Connections of one client address (in IPv6 of one /64) to one service; unix sockets are not counted."`
	WrongPerPeer       int      `toml:"wrong_passwords_per_peer" doc:"Different wrong passwords in five minutes from one client address (in IPv6 one /64), after which it is told to come back later. The same one again is not counted; programs on this machine have no bound. 0: no bound."`
	WrongPerAccount    int      `toml:"wrong_passwords_per_account" doc:"The same for one account and all addresses together; the last of them is for addresses that it logged in from in the last day, so that strangers cannot shut its owner out. Fewer than the number after which the password policy of the directory locks the account. 0: no bound."`
	GreetPause         Duration `toml:"greet_pause" doc:"How long strangers wait for the greeting of mx. Who speaks before it is a program that does not listen, and gets none. 0s: no wait."`
	Idle               Duration `toml:"idle" doc:"A mail client may be silent this long in IMAP (at least 30m, RFC 9051)."`
}

// Log says what is logged and how.
type Log struct {
	Level  string `toml:"level" doc:"debug, info, warn or error."`
	Format string `toml:"format" doc:"text or json."`
	Target string `toml:"target" doc:"stderr, journal or syslog. stderr notices when it leads to the journal, and then writes as for journal: without the time, with the level in front as <N>."`
}

// A Duration is written as in Go: 30s, 5m, 1h30m.
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration; write 30s, 5m or 1h", b)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes it back, without units of zero.
func (d Duration) MarshalText() ([]byte, error) {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return []byte(s), nil
}

// Default returns the settings that a file leaves out.
func Default() Config {
	return Config{
		Hostname: "mail.example.org",
		Data:     "/var/lib/dirpost",
		Cache:    "/var/cache/dirpost",
		Directory: Directory{
			Embedded: true,
			Base:     "dc=example,dc=org",
			Timeout:  Duration(10 * time.Second),
			Locals:   map[string]string{},

			Profile:    profile.OpenLDAP,
			Attributes: map[string]string{},
			Classes:    map[string]string{},
			Defaults:   map[string][]string{},
		},
		Listen: Listen{
			MX:          []string{":25"},
			Submission:  []string{":587"},
			Submissions: []string{":465"},
			LMTP:        []string{"127.0.0.1:24"},
			IMAP:        []string{":143"},
			IMAPS:       []string{":993"},
			LDAP:        []string{"127.0.0.1:389"},
			LDAPS:       []string{},
			LDAPI:       "/run/dirpost/ldapi",
			Status:      []string{"127.0.0.1:8025"},
			Forwarded:   []string{"mx", "submission", "submissions", "imap", "imaps"},
			Control:     "/run/dirpost/control",
		},
		TLS: []KeyPair{{Cert: "/etc/dirpost/tls/server.pem", Key: "/etc/dirpost/tls/server.key"}},
		Limits: Limits{
			MessageBytes:       50 << 20,
			Recipients:         100,
			QuotaWarnings:      []int{80, 95},
			Connections:        10000,
			ConnectionsPerPeer: 50,
			WrongPerPeer:       20,
			WrongPerAccount:    4,
			GreetPause:         Duration(time.Second),
			Idle:               Duration(30 * time.Minute),
		},
		Log: Log{Level: "info", Format: "text", Target: "stderr"},
	}
}

// resolve makes every path absolute, counting from dir.
func (c *Config) resolve(dir string) {
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for _, p := range []*string{&c.Data, &c.Cache, &c.Directory.CA, &c.Directory.PasswordFile, &c.Listen.LDAPI, &c.Listen.Control} {
		abs(p)
	}
	for i := range c.TLS {
		abs(&c.TLS[i].Cert)
		abs(&c.TLS[i].Key)
	}
}

// check finds what is missing or contradicts itself, all of it at once.
func (c *Config) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Hostname == "" || strings.ContainsAny(c.Hostname, " \t/@") {
		wrong("hostname = %q: write the full name of this server, such as mail.example.org", c.Hostname)
	}
	if c.Data == "" {
		wrong("data is empty: name a folder")
	}
	if c.Cache == "" || c.Cache == c.Data {
		wrong("cache = %q: name a folder other than data", c.Cache)
	}
	if c.Limits.MessageBytes < 64<<10 {
		wrong("limits.message_bytes = %d: RFC 5321 section 4.5.3.1.7 asks for at least 65536", c.Limits.MessageBytes)
	}
	if c.Limits.Recipients < 100 {
		wrong("limits.recipients = %d: RFC 5321 section 4.5.3.1.8 asks for at least 100", c.Limits.Recipients)
	}
	if p := c.Limits.GreetPause; p < 0 || p > Duration(30*time.Second) {
		wrong("limits.greet_pause: from 0s to 30s, or real mail servers lose patience")
	}
	if c.Limits.WrongPerPeer < 0 || c.Limits.WrongPerAccount < 0 {
		wrong("limits.wrong_passwords_per_peer, limits.wrong_passwords_per_account: 0 or more")
	}
	for i, mark := range c.Limits.QuotaWarnings {
		if mark < 1 || mark > 99 || i > 0 && mark <= c.Limits.QuotaWarnings[i-1] {
			wrong("limits.quota_warnings: write percentages from 1 to 99 in rising order, such as [80, 95]")
		}
	}
	if c.Limits.Idle < Duration(30*time.Minute) {
		wrong("limits.idle: RFC 9051 section 5.4 asks for at least 30m")
	}
	if _, err := c.Log.level(); err != nil {
		wrong("log.level = %q: write debug, info, warn or error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		wrong("log.format = %q: write text or json", c.Log.Format)
	}
	if t := c.Log.Target; t != "" && t != "stderr" && t != "journal" && t != "syslog" {
		wrong("log.target = %q: write stderr, journal or syslog", t)
	}
	errs = append(errs, c.Directory.check()...)
	errs = append(errs, c.checkTLS()...)
	errs = append(errs, c.Listen.check(c.Directory.Embedded)...)
	return errors.Join(errs...)
}

func (d *Directory) check() []error {
	var errs []error
	if d.Base == "" {
		errs = append(errs, errors.New("directory.base is empty: write the suffix of the tree, such as dc=example,dc=org"))
	}
	if !d.Embedded && len(d.URIs) == 0 {
		errs = append(errs, errors.New("directory.uris is empty: name an LDAP server, or set directory.embedded = true"))
	}
	if d.Embedded && len(d.URIs) > 0 {
		errs = append(errs, errors.New("directory.uris has no use while directory.embedded = true: remove one of the two"))
	}
	if !d.Embedded && len(d.Locals) > 0 {
		errs = append(errs, errors.New("directory.locals is about the embedded directory: a slapd has olcAuthzRegexp for it"))
	}
	for account, name := range d.Locals {
		if parsed, err := ldap.ParseDN(name); err != nil || len(parsed.RDNs) == 0 {
			errs = append(errs, fmt.Errorf("directory.locals: %s = %q: write the name of an entry, such as cn=web,ou=services,dc=example,dc=org", account, name))
		}
	}
	if d.Timeout < Duration(time.Second) {
		errs = append(errs, errors.New("directory.timeout: at least 1s"))
	}
	if d.Embedded && d.Profile != profile.OpenLDAP && d.Profile != profile.Embedded {
		errs = append(errs, fmt.Errorf("directory.profile = %q is about servers of your own: the embedded directory calls things as dirpost does", d.Profile))
	}
	if _, err := d.Names(); err != nil {
		errs = append(errs, fmt.Errorf("directory: %w", err))
	}
	for _, name := range d.Domains {
		if canonical, err := directory.ParseDomain(name); err != nil || canonical != name {
			errs = append(errs, fmt.Errorf("directory.domains: %q: write a domain in lower case, such as example.org (one that is not ASCII as xn--...)", name))
		}
	}
	for _, uri := range d.URIs {
		scheme, rest, ok := strings.Cut(uri, "://")
		switch {
		case !ok || scheme != "ldap" && scheme != "ldaps" && scheme != "ldapi":
			errs = append(errs, fmt.Errorf("directory.uris: %q: write ldap://, ldaps:// or ldapi://", uri))
		case scheme == "ldap" && !d.StartTLS && !loopback(rest):
			errs = append(errs, fmt.Errorf("directory.uris: %q would send passwords in the clear: set start_tls = true or use ldaps://", uri))
		}
	}
	return errs
}

// loopback reports whether the host of an ldap URI is this machine.
func loopback(rest string) bool {
	host, _, _ := strings.Cut(rest, "/")
	if addr, err := netip.ParseAddrPort(host); err == nil {
		return addr.Addr().IsLoopback()
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.IsLoopback()
	}
	name, _, _ := strings.Cut(host, ":")
	return name == "localhost"
}

func (c *Config) checkTLS() []error {
	var errs []error
	needs := len(c.Listen.MX)+len(c.Listen.Submission)+len(c.Listen.Submissions)+len(c.Listen.IMAP)+len(c.Listen.IMAPS)+len(c.Listen.LDAPS) > 0
	if needs && len(c.TLS) == 0 {
		errs = append(errs, errors.New("no [[tls]] certificate: `dirpost init` makes a self-signed one to start with"))
	}
	for i, p := range c.TLS {
		if p.Cert == "" || p.Key == "" {
			errs = append(errs, fmt.Errorf("[[tls]] number %d needs both cert and key", i+1))
		}
	}
	return errs
}

func (l *Listen) check(embedded bool) []error {
	var errs []error
	for _, list := range []struct {
		key       string
		addresses []string
	}{{"lmtp", l.LMTP}, {"status", l.Status}} {
		for _, addr := range list.addresses {
			if !strings.HasPrefix(addr, "unix:") && !loopback(addr) {
				errs = append(errs, fmt.Errorf("listen.%s: %q is open to others: use a unix socket or a loopback address", list.key, addr))
			}
		}
	}
	for _, text := range l.Forwarders {
		if prefix, err := network(text); err != nil || prefix.Bits() == 0 {
			errs = append(errs, fmt.Errorf("listen.forwarders: %q is neither an address nor a network such as 10.0.0.0/8", text))
		}
	}
	if len(l.Forwarders) > 0 && len(l.Forwarded) == 0 {
		errs = append(errs, errors.New("listen.forwarders has no use while listen.forwarded is empty: name the listeners"))
	}
	for _, name := range l.Forwarded {
		if !slices.Contains(forwardable, name) {
			errs = append(errs, fmt.Errorf("listen.forwarded: no listener %q: write some of %s", name, strings.Join(forwardable, ", ")))
		}
	}
	if embedded && l.LDAPI == "" {
		errs = append(errs, errors.New("listen.ldapi is empty: the embedded directory needs its unix socket"))
	}
	return errs
}

// forwardable are the listeners that may have a TCP port.
var forwardable = []string{"mx", "submission", "submissions", "lmtp", "imap", "imaps", "ldap", "ldaps", "status"}

// network reads an address or a network in CIDR form.
func network(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Unmap().Prefix(addr.Unmap().BitLen())
	}
	prefix, err := netip.ParsePrefix(text)
	if a := prefix.Addr(); a.Is4In6() {
		prefix = netip.PrefixFrom(a.Unmap(), max(prefix.Bits()-96, 0))
	}
	return prefix.Masked(), err
}

// ForwardersOf returns the networks of forwarders to the listener name. The file has been checked.
func (l *Listen) ForwardersOf(name string) []netip.Prefix {
	if !slices.Contains(l.Forwarded, name) {
		return nil
	}
	var networks []netip.Prefix
	for _, text := range l.Forwarders {
		if prefix, err := network(text); err == nil {
			networks = append(networks, prefix)
		}
	}
	return networks
}

func (l Log) level() (slog.Level, error) {
	var level slog.Level
	err := level.UnmarshalText([]byte(l.Level))
	return level, err
}

// SlogLevel returns the level of the file, which has been checked.
func (l Log) SlogLevel() slog.Level {
	level, err := l.level()
	if err != nil {
		return slog.LevelInfo
	}
	return level
}
