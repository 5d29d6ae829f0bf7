//go:build !peers

package directory_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory/provision"
)

// What other mail servers ask a directory must be answered as they expect: a site may keep its Postfix or Dovecot for a
// while, or for good, beside dirpost.

// table writes a configuration of Postfix's LDAP client and returns what postmap takes for it.
func (s *server) table(t *testing.T, dir, name string, lines ...string) string {
	t.Helper()
	file := filepath.Join(dir, name+".cf")
	text := append([]string{
		"server_host = " + s.uri, "version = 3", "search_base = " + base, "bind = yes",
		"bind_dn = " + provision.FrontendDN(base), "bind_pw = frontend-password",
	}, lines...)
	if err := os.WriteFile(file, []byte(strings.Join(text, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "ldap:" + file
}

func TestPostmap(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		seedRoutes(t, s, p)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "main.cf"), nil, 0o600); err != nil { // postmap wants one
			t.Fatal(err)
		}
		tables := map[string]string{
			"mailbox": s.table(t, dir, "mailbox", "query_filter = (&(objectClass=dpMailAccount)(mailLocalAddress=%s)(dpAccountStatus=active))", "result_attribute = dpMailboxId"),
			"alias":   s.table(t, dir, "alias", "query_filter = (mailLocalAddress=%s)", "result_attribute = mail, rfc822MailMember", "special_result_attribute = member, roleOccupant", "leaf_result_attribute = mail"),
			"domain":  s.table(t, dir, "domain", "query_filter = (&(objectClass=dpMailDomain)(associatedDomain=%s))", "result_attribute = associatedDomain"),
			"forward": s.table(t, dir, "forward", "query_filter = (mailLocalAddress=%s)", "result_attribute = dpForward", "result_format = smtp:%d"),
		}
		tests := []struct{ table, key, want string }{ // want "" = not found
			{"mailbox", "alice@example.org", "m-alice"},
			{"mailbox", "INFO@Example.ORG", "m-alice"},
			{"mailbox", "carol@example.org", ""},
			{"mailbox", "nobody@example.org", ""},
			{"mailbox", "*@example.org", ""},
			{"mailbox", "*)(uid=alice", ""},
			{"mailbox", `a\2a@example.org`, ""},
			{"alias", "board@example.org", "Bob@Example.org,alice@example.org,auditor@example.com,carol@example.org,nobody@example.org"},
			{"alias", "press@example.org", "alice@example.org,bob@example.org"},
			{"domain", "example.org", "example.org"},
			{"domain", "example.net", ""},
			{"forward", "frank@example.org", "smtp:example.com,smtp:example.org"},
		}
		for _, tt := range tests {
			out, err := exec.Command("postmap", "-c", dir, "-q", tt.key, tables[tt.table]).Output()
			got := strings.Split(strings.TrimSpace(string(out)), ",")
			slices.Sort(got)
			var exit *exec.ExitError
			if found := err == nil; strings.Join(got, ",") != tt.want || found != (tt.want != "") || !found && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
				t.Errorf("postmap -q %s in %s: %q, %v; want %q", tt.key, tt.table, out, err, tt.want)
			}
		}
	})
}

// dovecot starts an authentication service of Dovecot that binds to the directory, and returns what asks it.
func (s *server) dovecot(t *testing.T, lookup ...string) func(login, password string) (string, int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "dovecot") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ldap := append([]string{"uris = " + s.uri, "base = " + people, "auth_bind = yes"}, lookup...)
	files := map[string]string{
		"ldap.conf": strings.Join(ldap, "\n") + "\n",
		"dovecot.conf": fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = %[1]s/log
protocols =
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
default_internal_user = root
default_internal_group = root
default_login_user = nobody
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
passdb {
  driver = ldap
  args = %[1]s/ldap.conf
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}
`, dir),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "dovecot.conf")
	master := exec.Command("dovecot", "-F", "-c", config)
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		master.Process.Signal(os.Interrupt)
		master.Wait()
		if text, _ := os.ReadFile(filepath.Join(dir, "log")); t.Failed() {
			t.Logf("%s", text)
		}
	})
	socket := filepath.Join(dir, "run", "auth-client")
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // nothing tells when it is there
		if _, err := os.Stat(socket); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	return func(login, password string) (string, int) {
		ask := exec.Command("doveadm", "-c", config, "auth", "test", login, password)
		out, _ := ask.CombinedOutput()
		return string(out), ask.ProcessState.ExitCode()
	}
}

func TestDovecotAuthBind(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 && os.Getenv("CI") != "true" {
		t.Log("not root: Dovecot starts as root only")
		return
	}
	const right, wrong = 0, 77 // of doveadm: EX_NOPERM
	ways := map[string][]string{
		"by a name": {"auth_bind_userdn = uid=%n," + people},
		"by a search": {
			"dn = " + provision.FrontendDN(base), "dnpass = frontend-password",
			"pass_filter = (&(objectClass=dpMailAccount)(mailLocalAddress=%u)(dpMailService=imap))", "pass_attrs = uid=user",
		},
	}
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		seedRoutes(t, s, p)
		for way, lookup := range ways {
			test := s.dovecot(t, lookup...)
			for _, tt := range []struct {
				login, password string
				want            int
			}{
				{"alice@example.org", "alice-password", right},
				{"bob@example.org", "bob-password", right},
				{"alice@example.org", "bob-password", wrong},
				{"alice@example.org", "", wrong},
				{"nobody@example.org", "alice-password", wrong},
				{"*@example.org", "alice-password", wrong},
			} {
				if out, got := test(tt.login, tt.password); got != tt.want {
					t.Errorf("%s, %s with %q: %d and %s; want %d", way, tt.login, tt.password, got, out, tt.want)
				}
			}
		}
	})
}
