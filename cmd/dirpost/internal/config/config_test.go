package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const keyPair = "[[tls]]\ncert = 'c'\nkey = 'k'\n"

func TestParseNamesLineKeyAndRemedy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		want []string // parts of the error; none = accepted
	}{
		{"an empty file wants a certificate", "", []string{"[[tls]]", "dirpost init"}},
		{"a certificate is enough", keyPair, nil},
		{"unknown key at the top", "lisen = 1\n" + keyPair, []string{`line 1: unknown key "lisen"`, `did you mean "listen"?`}},
		{"unknown key in a table", keyPair + "[limits]\nrecipient = 5\n", []string{`line 5: unknown key "limits.recipient"`, `"recipients"`}},
		{"unknown key in a list of tables", "[[tls]]\ncertt = 'c'\n", []string{`unknown key "tls.certt"`, `"cert"`}},
		{"unknown key unlike any", "zebra = 1\n" + keyPair, []string{`line 1: unknown key "zebra"`}},
		{"two unknown keys are both named", "zebra = 1\nyak = 2\n", []string{"zebra", "yak"}},
		{"wrong type", "hostname = 1\n", []string{"line 1", "hostname"}},
		{"not TOML", "hostname = \n", []string{"line 1"}},
		{"duplicate key", "data = 'a'\ndata = 'b'\n", []string{"line 2", "data"}},
		{"bad duration", keyPair + "[limits]\nidle = '5'\n", []string{"line 5", "no duration"}},
		{"quota marks that do not rise", keyPair + "[limits]\nquota_warnings = [95, 80]\n", []string{"limits.quota_warnings"}},
		{"a mark that is no percentage", keyPair + "[limits]\nquota_warnings = [100]\n", []string{"limits.quota_warnings"}},
		{"too short a duration", keyPair + "[limits]\nidle = '5m'\n", []string{"at least 30m"}},
		{"nobody waits that long", keyPair + "[limits]\ngreet_pause = '2m'\n", []string{"limits.greet_pause", "30s"}},
		{"no wait", keyPair + "[limits]\ngreet_pause = '0s'\n", nil},
		{"passwords in the clear", keyPair + "[directory]\nembedded = false\nuris = ['ldap://ldap.example.org']\n", []string{"start_tls"}},
		{"clear text on loopback", keyPair + "[directory]\nembedded = false\nuris = ['ldap://127.0.0.1:1389']\n", nil},
		{"no server", keyPair + "[directory]\nembedded = false\n", []string{"directory.uris"}},
		{"both kinds of directory", keyPair + "[directory]\nuris = ['ldapi:///x']\n", []string{"directory.embedded"}},
		{"a profile that is none", keyPair + "[directory]\nembedded = false\nuris = ['ldapi:///x']\nprofile = 'exchange'\n", []string{"exchange", "389ds, ad"}},
		{"a profile for the embedded directory", keyPair + "[directory]\nprofile = 'ad'\n", []string{"directory.profile"}},
		{"an attribute that is none of ours", keyPair + "[directory.attributes]\nmailLocalAddres = 'x'\n", []string{"mailLocalAddres"}},
		{"attributes", keyPair + "[directory]\nembedded = false\nuris = ['ldapi:///x']\nattributes = { uid = 'cn' }\n", nil},
		{"a domain in capitals", keyPair + "[directory]\ndomains = ['Example.org']\n", []string{"directory.domains"}},
		{"a local account", keyPair + "[directory]\nlocals = { www-data = 'cn=web,ou=services,dc=example,dc=org' }\n", nil},
		{"a local account that is no entry", keyPair + "[directory]\nlocals = { www-data = 'web' }\n", []string{"directory.locals", "www-data", "cn=web,"}},
		{"local accounts of a slapd", keyPair + "[directory]\nembedded = false\nuris = ['ldapi:///x']\nlocals = { www-data = 'cn=web' }\n", []string{"directory.locals", "olcAuthzRegexp"}},
		{"LMTP open to the world", keyPair + "[listen]\nlmtp = [':24']\n", []string{"listen.lmtp", "unix socket"}},
		{"LMTP on a unix socket", keyPair + "[listen]\nlmtp = ['unix:/run/x']\n", nil},
		{"status open to the world", keyPair + "[listen]\nstatus = ['0.0.0.0:80']\n", []string{"listen.status", "loopback"}},
		{"a forwarder's name", keyPair + "[listen]\nforwarders = ['haproxy']\n", []string{"listen.forwarders", "haproxy", "10.0.0.0/8"}},
		{"everybody in another form", keyPair + "[listen]\nforwarders = ['::ffff:0.0.0.0/96']\n", []string{"listen.forwarders"}},
		{"forwarders to nothing", keyPair + "[listen]\nforwarders = ['192.0.2.7']\nforwarded = []\n", []string{"listen.forwarded is empty"}},
		{"everybody a forwarder", keyPair + "[listen]\nforwarders = ['0.0.0.0/0']\n", []string{"listen.forwarders"}},
		{"forwarders", keyPair + "[listen]\nforwarders = ['192.0.2.7', '2001:db8::/32']\nforwarded = ['mx']\n", nil},
		{"forwarders to a unix socket", keyPair + "[listen]\nforwarded = ['control']\n", []string{"listen.forwarded", "control", "mx"}},
		{"a log target that is none", keyPair + "[log]\ntarget = 'file'\n", []string{"log.target", "syslog"}},
		{"half a key pair", "[[tls]]\ncert = 'c'\n", []string{"both cert and key"}},
		{"bad level", keyPair + "[log]\nlevel = 'loud'\n", []string{"log.level"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.in))
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("Parse error = %v; want parts %q", err, tt.want)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}

func TestWrittenFileReadsBackTheSame(t *testing.T) {
	t.Parallel()
	odd := Default()
	odd.Hostname = `a"b\c` + "\x01ü"
	odd.Listen.MX = nil
	odd.Directory.Embedded, odd.Directory.URIs, odd.Directory.Profile = false, []string{"ldaps://dc.example.org"}, "ad"
	odd.Directory.Domains = []string{"example.org"}
	odd.Directory.Attributes = map[string]string{"mailLocalAddress": "mail, proxyAddresses smtp:", "dpQuotaBytes": "-"}
	odd.Directory.Classes = map[string]string{"dpMailAccount": "user !computer mail=*"}
	odd.Directory.Defaults = map[string][]string{"dpMailService": {"imap", "submission"}}
	odd.Directory.Timeout = Duration(90 * time.Second)
	odd.TLS = append(odd.TLS, KeyPair{Cert: "second", Key: "second.key"})
	for _, want := range []Config{Default(), odd} {
		var b strings.Builder
		if err := Write(&b, want); err != nil {
			t.Fatal(err)
		}
		got, err := Parse([]byte(b.String()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		if len(want.Listen.MX) == 0 {
			want.Listen.MX = []string{}
		}
		for _, empty := range []*[]string{&want.Directory.URIs, &want.Directory.Domains, &want.Listen.Forwarders} {
			if *empty == nil {
				*empty = []string{}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestEveryKeyIsExplained(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := Write(&b, Default()); err != nil {
		t.Fatal(err)
	}
	before := ""
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, " = ") && !strings.HasPrefix(line, "#") && len(before) < 10 {
			t.Errorf("%q has no comment", line)
		}
		before = line
	}
}

func TestForwardersOf(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Listen.Forwarders = []string{"192.0.2.7", "10.1.2.3/8", "::ffff:192.0.2.8", "::ffff:198.51.100.9/120", "2001:db8::1"}
	want := "[192.0.2.7/32 10.0.0.0/8 192.0.2.8/32 198.51.100.0/24 2001:db8::1/128]"
	for name, want := range map[string]string{"mx": want, "imaps": want, "lmtp": "[]", "ldap": "[]", "status": "[]"} {
		if got := fmt.Sprint(c.Listen.ForwardersOf(name)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestLoadCountsPathsFromTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "dirpost.toml")
	if err := os.WriteFile(path, []byte("data = 'd'\ncache = '/c'\n"+keyPair), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.Data, c.Cache, c.TLS[0].Key, c.Directory.CA}
	want := []string{filepath.Join(dir, "d"), "/c", filepath.Join(dir, "k"), ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("lisen = 1\n"))
	f.Add([]byte(keyPair))
	f.Add([]byte("[listen]\nmx = [1, 2]\n"))
	f.Add([]byte("[[tls]]\n[tls.x]\ny = 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		var b strings.Builder
		if err := Write(&b, c); err != nil {
			t.Fatal(err)
		}
		if _, err := Parse([]byte(b.String())); err != nil {
			t.Errorf("accepted, but written back it is not: %v\n%s", err, b.String())
		}
	})
}
